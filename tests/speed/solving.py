"""Measure the solvers of `linear` and `knn` on one core, and check their results in the same run.

    python tests/speed/solving.py            # both, two minutes on a quiet core
    python tests/speed/solving.py probe      # ChestMNIST's size: 78,468 images, 14 labels, 11 penalties
    python tests/speed/solving.py neighbors  # TissueMNIST's size: 165,466 images, one block of queries

The 1,280 features are generated, with the spectrum and skewness of real ones. Times are CPU seconds of one
thread: all labels by ours, one label times 14 by scikit-learn.
"""

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

from mednet_bench.benchmark.schema.plan import TrainingConfig
from mednet_bench.benchmark.training import nearest_neighbors
from mednet_bench.benchmark.training.logistic_regression import LogisticFit, fit_logistic, standardize

WIDTH, LABELS = 1280, 14
PROBE_IMAGES, HELD_OUT, NEIGHBOR_IMAGES = 78_468, 10_000, 165_466
PENALTIES = tuple(sorted(TrainingConfig().l2_grid, reverse=True))
SHARES = np.geomspace(0.002, 0.18, LABELS)
"""Of the labels, as in ChestMNIST."""
COMPARED = 9
"""The label that scikit-learn fits, 4.5 % positive."""
LEAST_SPEEDUP, MOST_PRODUCTS = 5.0, 1.5
OBJECTIVE, AUC = 1e-4, 1e-3
"""Largest differences from scikit-learn's optimum."""


def generate(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return features [n, WIDTH], rectified normal ones of a steep spectrum, and labels [n, LABELS]."""
    rng = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=rng))[0]
    spectrum = torch.arange(1, WIDTH + 1) ** -0.75
    weights = torch.randn(WIDTH, LABELS, generator=rng) * spectrum.sqrt()[:, None]
    features, logits = torch.empty(n, WIDTH), torch.empty(n, LABELS)
    for start in range(0, n, 4096):
        hidden = torch.randn(min(4096, n - start), WIDTH, generator=rng)
        features[start : start + 4096] = (hidden * spectrum @ turn.T).relu()
        logits[start : start + 4096] = hidden @ weights
    noise = torch.rand(n, LABELS, generator=rng).clamp(1e-6, 1 - 1e-6).logit()
    latent = (1.5 * logits / logits.std(0) + noise).numpy()
    return features, torch.from_numpy(
        latent > [np.quantile(latent[:, k], 1 - SHARES[k]) for k in range(LABELS)]
    )


def cpu_seconds(action: Callable[[], object]) -> float:
    """Return the CPU seconds of an action."""
    started = time.process_time()
    action()
    return time.process_time() - started


def objective(
    features: NDArray[np.float64], labels: Tensor, weights: NDArray, intercept: float, penalty: float
) -> float:
    """Return mean log loss + penalty / 2 |weights|^2."""
    logits = features @ weights + intercept
    losses = np.logaddexp(0, np.where(labels.numpy(), -logits, logits))
    return float(losses.mean() + penalty / 2 * (weights**2).sum())


def measure_probe() -> tuple[dict[str, float], bool]:
    """Compare all labels by ours with scikit-learn's path of one label, as `linear` had it."""
    features, labels = generate(PROBE_IMAGES + HELD_OUT)
    train, test = standardize(*features.split(PROBE_IMAGES))
    del features
    fits: list[LogisticFit] = []
    ours = cpu_seconds(
        lambda: fits.append(fit_logistic(train, labels[:PROBE_IMAGES], PENALTIES, softmax=False))
    )
    seen, held_out = labels[:PROBE_IMAGES, COMPARED], labels[PROBE_IMAGES:, COMPARED]
    probe = LogisticRegression(max_iter=400, tol=1e-4, warm_start=True)
    theirs = 0.0
    worse: list[float] = []
    apart: list[float] = []
    precise = train.double().numpy()
    for place, penalty in enumerate(PENALTIES):
        probe.C = 1 / (penalty * PROBE_IMAGES)
        theirs += cpu_seconds(lambda: probe.fit(train.numpy(), seen.numpy()))
        weights, intercept = (
            part[place, COMPARED].double() for part in (fits[0].weights, fits[0].intercepts)
        )
        mine = objective(precise, seen, weights.numpy(), intercept.item(), penalty)
        best = objective(precise, seen, np.ravel(probe.coef_), np.ravel(probe.intercept_)[0], penalty)
        worse.append(mine - best)
        scores = (
            fits[0].logits(test)[place, :, COMPARED],
            torch.from_numpy(probe.decision_function(test.numpy())),
        )
        first, second = (roc_auc_score(held_out, score) for score in scores)
        apart.append(abs(first - second))
    found = {
        "ours": ours, "scikit_learn": theirs * LABELS, "ratio": theirs * LABELS / ours,
        "rounds": fits[0].rounds, "objective_above": max(worse), "auc_apart": max(apart),
    }  # fmt: skip
    return found, found["ratio"] >= LEAST_SPEEDUP and max(worse) <= OBJECTIVE and max(apart) <= AUC


def measure_neighbors(turns: int = 5) -> tuple[dict[str, float], bool]:
    """Compare a block of queries with its bare matrix product; votes are checked on some queries."""
    rng = torch.Generator().manual_seed(0)
    train = torch.nn.functional.normalize(torch.randn(NEIGHBOR_IMAGES, WIDTH, generator=rng).relu_())
    labels = torch.nn.functional.one_hot(torch.randint(8, (NEIGHBOR_IMAGES,), generator=rng)).double()
    rows = nearest_neighbors.CPU_BLOCK // NEIGHBOR_IMAGES
    queries = torch.nn.functional.normalize(torch.randn(rows, WIDTH, generator=rng).relu_())
    counts = TrainingConfig().k_grid
    seconds = [
        (
            cpu_seconds(lambda: queries @ train.T),
            cpu_seconds(lambda: nearest_neighbors.block_shares(queries, train, labels, counts)),
        )
        for _ in range(turns)
    ]
    ratio = statistics.median(mine / product for product, mine in seconds)
    shares = nearest_neighbors.block_shares(queries[:5], train, labels, counts)
    cosines = queries[:5].double().numpy() @ train.numpy().T.astype(float)
    exact = True
    for k, share in zip(counts, shares, strict=True):
        nearest = np.argsort(-cosines, axis=1)[:, :k]
        weights = 1 + np.take_along_axis(cosines, nearest, axis=1)[:, :, None]
        expected = (weights * labels.numpy()[nearest]).sum(1) / weights.sum(1)
        exact &= bool(np.abs(expected - share.numpy()).max() < 1e-5)
    product, mine = map(statistics.median, zip(*seconds, strict=True))
    return {
        "product": product,
        "ours": mine,
        "ratio": ratio,
        "exact": exact,
    }, ratio <= MOST_PRODUCTS and exact


MEASURES = {"probe": measure_probe, "neighbors": measure_neighbors}


def main() -> int:
    """Measure on one thread; exit 3 where a promise is broken."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    broken = False
    for name in sys.argv[1:] or MEASURES:
        found, kept = MEASURES[name]()
        rounded = json.dumps({key: float(f"{value:.3g}") for key, value in found.items()})
        limit = f"at least {LEAST_SPEEDUP}" if name == "probe" else f"at most {MOST_PRODUCTS}"
        print(f"solving: {name}: {rounded} {'ok' if kept else f'BROKEN, limit: ratio {limit}'}", flush=True)
        broken |= not kept
    return 3 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
