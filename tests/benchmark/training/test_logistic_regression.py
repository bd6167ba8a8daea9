"""All penalties and labels at once against scikit-learn, one at a time and to the end."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from mednet_bench.baselines.weights.load import load_backbone
from mednet_bench.baselines.weights.prepare import InputPreparation
from mednet_bench.benchmark.run.resolve import resolve_request
from mednet_bench.benchmark.schema.plan import TrainingConfig
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.benchmark.training import logistic_regression
from mednet_bench.benchmark.training.device_data import as_stored
from mednet_bench.benchmark.training.logistic_regression import fit_logistic, standardize
from mednet_bench.benchmark.training.model import outputs_of
from mednet_bench.tasks.data_paths import data_locations

Floats = NDArray[np.float64]
PENALTIES = (100.0, 1.0, 0.03, 0.001)


@dataclass(frozen=True, eq=False)
class FeatureProblem:
    """Features [n, f], labels [n] of classes or [n, labels], and others [m, f] to predict."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    others: NDArray[np.float32]
    other_labels: NDArray[np.int64]

    @property
    def softmax(self) -> bool:
        return self.labels.ndim == 1 and self.labels.max() > 1

    @property
    def targets(self) -> torch.Tensor:
        labels = torch.from_numpy(self.labels)
        return torch.nn.functional.one_hot(labels) if self.softmax else labels.reshape(len(labels), -1)


def correlated(n: int, width: int, classes: int = 2, findings: int = 0, noise: float = 1.0) -> FeatureProblem:
    """Features of a steep spectrum, skewed as after a ReLU, and labels that depend on them."""
    rng = np.random.default_rng(n + width + classes + findings)
    hidden = rng.normal(size=(n + 400, width)) * np.arange(1, width + 1) ** -0.8
    turned = hidden @ np.linalg.qr(rng.normal(size=(width, width)))[0]
    features = np.maximum(turned, 0).astype(np.float32)
    logits = hidden @ rng.normal(size=(width, findings or classes))
    logits = logits / logits.std(axis=0) + noise * rng.gumbel(size=logits.shape)
    labels = (logits > np.linspace(-0.5, 2, findings or 1)).astype(int) if findings else logits.argmax(axis=1)
    return FeatureProblem(features[:n], labels[:n], features[n:], labels[n:])


def with_flaws(problem: FeatureProblem) -> FeatureProblem:
    """Constant features, a feature twice, and rows twice."""
    order = np.r_[: len(problem.features), : len(problem.features) // 2]

    def flawed(features: NDArray[np.float32]) -> NDArray[np.float32]:
        constant = np.full((len(features), 2), [0.0, 0.1], np.float32)
        return np.concatenate([features, constant, features[:, :1]], axis=1)

    return FeatureProblem(
        flawed(problem.features)[order], problem.labels[order], flawed(problem.others), problem.other_labels
    )


PROBLEMS = {
    "two classes": correlated(300, 40),
    "four classes": correlated(300, 40, classes=4),
    "findings": correlated(300, 40, findings=3),
    "fewer images than features": correlated(60, 150, classes=3),
    "separable": correlated(300, 250, noise=0.0),
    "constant and repeated": with_flaws(correlated(200, 30, classes=3)),
    "as many images as features": with_flaws(correlated(50, 72, findings=2)),
}


def objective(
    features: Floats, targets: Floats, weights: Floats, intercepts: Floats, penalty: float, softmax: bool
) -> float:
    """Mean log loss + penalty / 2 |weights|^2, in float64; `weights` [K, f], `targets` [n, K]."""
    logits = features @ weights.T + intercepts
    if softmax:
        losses = np.logaddexp.reduce(logits, axis=1) - (logits * targets).sum(axis=1)
    else:
        losses = (np.logaddexp(0, logits) - logits * targets).sum(axis=1)
    return float(losses.mean() + penalty / 2 * (weights**2).sum())


def converged(features: Floats, labels: NDArray[np.int64], penalty: float) -> LogisticRegression:
    probe = LogisticRegression(C=1 / (penalty * len(features)), max_iter=20000, tol=1e-9)
    return probe.fit(features, labels)


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_finds_the_optimum_of_scikit_learn(name: str) -> None:
    problem = PROBLEMS[name]
    parts = standardize(*map(torch.from_numpy, (problem.features, problem.others)))
    fit = fit_logistic(parts[0], problem.targets, PENALTIES, problem.softmax)
    scaler = StandardScaler().fit(problem.features.astype(float))
    features, others = (
        np.asarray(scaler.transform(part.astype(float))) for part in (problem.features, problem.others)
    )
    np.testing.assert_allclose(parts[0], features, atol=1e-4)
    columns = [problem.labels] if problem.labels.ndim == 1 else list(problem.labels.T)
    truths = [problem.other_labels] if problem.labels.ndim == 1 else list(problem.other_labels.T)
    logits = fit.logits(parts[1])
    assert fit.gaps.max() <= logistic_regression.LOSS_GAP
    for place, penalty in enumerate(PENALTIES):
        for output, (labels, truth) in enumerate(zip(columns, truths, strict=True)):
            probe = converged(features, labels, penalty)
            rows = slice(None) if problem.softmax else slice(output, output + 1)
            targets = problem.targets[:, rows].numpy().astype(float)
            ours, best = (
                objective(features, targets, weights, intercepts, penalty, problem.softmax)
                for weights, intercepts in (
                    (fit.weights[place, rows].double().numpy(), fit.intercepts[place, rows].double().numpy()),
                    (np.asarray(probe.coef_), np.asarray(probe.intercept_)),
                )
            )
            assert -1e-6 < ours - best < 1e-6
            shown = logits[place].double()[:, rows]
            found = shown.softmax(1).numpy() if problem.softmax else shown.sigmoid().numpy()
            expected = probe.predict_proba(others)[:, slice(None) if problem.softmax else slice(1, None)]
            np.testing.assert_allclose(found, expected, atol=5e-3)
            assert auc(truth, found) == pytest.approx(auc(truth, expected), abs=1e-3)


def auc(truth: NDArray[np.int64], scores: Floats) -> float:
    """Mean one-vs-rest AUC; one column is of class 1."""
    classes = [1] if scores.shape[1] == 1 else range(scores.shape[1])
    return float(
        np.mean([roc_auc_score(truth == k, column) for k, column in zip(classes, scores.T, strict=True)])
    )


def test_columns_do_not_influence_each_other() -> None:
    problem = PROBLEMS["findings"]
    (features,) = standardize(torch.from_numpy(problem.features))
    together = fit_logistic(features, problem.targets, PENALTIES, softmax=False)
    for output in range(3):
        alone = fit_logistic(features, problem.targets[:, [output]], PENALTIES[1:2], softmax=False)
        torch.testing.assert_close(alone.weights[0, 0], together.weights[1, output], atol=2e-3, rtol=0)


def test_the_limit_of_rounds_ends_what_does_not_converge() -> None:
    problem = PROBLEMS["separable"]
    (features,) = standardize(torch.from_numpy(problem.features))
    fit = fit_logistic(features, problem.targets, (1e-9,), softmax=False, rounds=30)
    assert fit.rounds == 30 and fit.gaps.item() > logistic_regression.LOSS_GAP
    assert fit.weights.isfinite().all()
    decided = (fit.logits(features)[0, :, 0] > 0).long()
    assert torch.equal(decided, problem.targets[:, 0])  # it is separable


def test_features_without_information_leave_the_shares() -> None:
    labels = torch.tensor([0, 0, 0, 1])[:, None]
    (features,) = standardize(torch.full((4, 6), 0.1))
    fit = fit_logistic(features, labels, (0.1,), softmax=False)
    assert (fit.weights == 0).all()
    torch.testing.assert_close(fit.intercepts.sigmoid(), torch.tensor([[0.25]]))


def test_small_chunks_change_rounding_only(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = PROBLEMS["four classes"]
    (features,) = standardize(torch.from_numpy(problem.features))
    whole = fit_logistic(features, problem.targets, PENALTIES, softmax=True)
    monkeypatch.setattr(logistic_regression, "CPU_CHUNK", 7)
    monkeypatch.setattr(logistic_regression, "CPU_CHECK", 5)  # as on a GPU
    parts = fit_logistic(features, problem.targets, PENALTIES, softmax=True)
    shown = (fit.logits(features).softmax(2) for fit in (parts, whole))
    torch.testing.assert_close(*shown, atol=5e-3, rtol=0)


def test_real_features_give_the_aucs_of_scikit_learn(data_root: Path, tmp_path: Path) -> None:
    """ImageNet features of BreastMNIST, every penalty of the default grid."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDNET_BENCH_DATA", str(data_root))
        request = RunConfig(
            tasks=("breastmnist",), inits=("imagenet",), protocols=("linear",), size=28, input_size=32,
            out=str(tmp_path), download=False,
        )  # fmt: skip
        plan = resolve_request(request)
        cell = plan.plan.cells[0].cell
        splits = plan.tasks["breastmnist"].source.load(28, data_locations(download=False))
    card = plan.card(cell)
    backbone = load_backbone(card, cell.arch, cell.input_size, seed=0).module.eval()
    prepare = InputPreparation(card.contract, cell.input_size)
    raw = (outputs_of(backbone, prepare, as_stored(splits[name], "cpu")) for name in ("train", "test"))
    train, test = standardize(*raw)
    labels = splits["train"].labels
    grid = TrainingConfig().l2_grid
    logits = fit_logistic(train, torch.from_numpy(labels)[:, None], grid, softmax=False).logits(test)
    for place, penalty in enumerate(grid):
        probe = LogisticRegression(C=1 / (penalty * len(labels)), max_iter=5000, tol=1e-7)
        expected = probe.fit(train.double().numpy(), labels).decision_function(test.numpy())
        pair = (roc_auc_score(splits["test"].labels, shown) for shown in (logits[place, :, 0], expected))
        assert next(pair) == pytest.approx(next(pair), abs=1e-3), penalty


def test_a_covariance_whose_eigenvectors_do_not_converge_in_float32_is_decomposed_in_float64(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(2)
    features = standardize(torch.randn(200, 6))[0]
    targets = torch.nn.functional.one_hot((features[:, 0] > 0).long(), 2).float()
    expected = fit_logistic(features, targets, [0.1], softmax=True)
    eigh = torch.linalg.eigh

    def fails_in_float32(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if matrix.dtype == torch.float32:
            raise torch.linalg.LinAlgError("the algorithm failed to converge")
        return eigh(matrix)

    monkeypatch.setattr(torch.linalg, "eigh", fails_in_float32)
    found = fit_logistic(features, targets, [0.1], softmax=True)
    assert torch.allclose(found.weights, expected.weights, atol=1e-4)
