"""Fine-tuning: tuned on validation alone, the same batches for every init, divergence named."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import toys
from torch import Tensor, nn
from toys import bits
from waits import watched

from mednet_bench.benchmark.protocols.finetune import FinetuneProtocol
from mednet_bench.benchmark.schema.plan import TrainingConfig
from mednet_bench.benchmark.schema.records import ValidationPoint
from mednet_bench.benchmark.training import tuned_training
from mednet_bench.benchmark.training.fit import TaskTraining
from mednet_bench.benchmark.training.loop import (
    DivergedError,
    FitResult,
    OptimizerConfig,
    ValidationResult,
    fit,
)
from mednet_bench.benchmark.training.metrics import (
    LEAST_EVENTS,
    Predictions,
    log_loss,
    primary_value,
    share_of_wins,
)
from mednet_bench.benchmark.training.model import loss_of
from mednet_bench.benchmark.training.protocol import PROTOCOLS, EvalContext, describe_choice
from mednet_bench.benchmark.training.subsets import one_hot
from mednet_bench.tasks.task import Split

FINETUNE = PROTOCOLS["finetune"]


def bench(tmp_path: Path, toy: toys.Toy | None = None, **recipe: object) -> toys.Bench:
    if steps := recipe.get("steps"):
        recipe["steps"] = (steps, steps)
    settings = msgspec.structs.replace(toys.QUICK, **recipe)
    return toys.Bench(toys.task_of(toy or toys.Toy()), tmp_path, recipe=settings)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path: Path) -> None:
    here = bench(tmp_path)
    one = bits(FINETUNE.score(here.job("finetune")))
    torch.rand(3), np.random.rand(3)
    assert bits(FINETUNE.score(here.job("finetune"))) == one
    assert bits(FINETUNE.score(here.job("finetune", seed=1))) != one


@pytest.mark.parametrize(
    "toy",
    [
        toys.Toy(kind="binary", classes=2),
        toys.Toy(kind="ordinal"),
        toys.Toy(kind="multilabel"),
        toys.Toy(variant="color"),
    ],
    ids=lambda toy: f"{toy.kind}-{toy.variant}",
)
def test_it_learns_what_can_be_learnt(toy: toys.Toy, tmp_path: Path) -> None:
    here = bench(tmp_path, replace(toy, sizes=(200, 60, 90), clear=4), steps=80, augment=False)
    outcome = FINETUNE.score(here.job("finetune"))
    truth = one_hot(here.data.splits["test"].labels, toy.classes)
    score = primary_value(Predictions(toy.kind, truth, outcome.test_scores))
    assert score is not None and score > 0.95
    if toy.kind != "multilabel":
        np.testing.assert_allclose(outcome.test_scores.sum(axis=1), 1)


class Recorder:
    """Records the batches of a training, its weights and its head."""

    def __init__(self, job: EvalContext) -> None:
        training = TaskTraining.load(job)
        feed = training.batch_source()
        self.batches = [feed.batch(step) for step in range(feed.steps)]
        self.steps = len(self.batches)
        self.weights = training.weights
        self.head = training.model.head.weight.detach().clone()


def test_every_init_meets_the_same_images_in_the_same_order_turned_the_same_way(tmp_path: Path) -> None:
    here = bench(tmp_path)
    loaded = toys.loaded_card(toys.write_weights(tmp_path / "w.safetensors"))
    job = here.job("finetune", fraction=0.5, seed=3)
    scratch, mednet = Recorder(job), Recorder(replace(job, card=loaded))
    assert scratch.weights != mednet.weights
    for (x, y), (x2, y2) in zip(scratch.batches, mednet.batches, strict=True):
        assert torch.equal(x, x2) and torch.equal(y, y2)
    assert torch.equal(scratch.head, mednet.head)  # and from the same head
    other = Recorder(here.job("finetune", fraction=0.5, seed=4))
    assert not torch.equal(other.batches[0][0], scratch.batches[0][0])
    # another contract sees the same images in its own units
    contract = msgspec.structs.replace(loaded.contract, mean=(0.0,) * 3, std=(1.0,) * 3)
    units = Recorder(replace(job, card=replace(loaded, contract=contract)))
    assert torch.allclose(units.batches[5][0], scratch.batches[5][0] * 0.5 + 0.5, atol=1e-5)


def marked(n: int) -> Split:
    """Every image is one flat value of its own, which no augmentation of a gray image changes."""
    images = np.repeat(np.arange(n, dtype=np.uint8), 16 * 16).reshape(n, 16, 16)
    return Split(images, np.arange(n) % 3)


def test_only_the_subset_is_trained_on_and_each_image_keeps_its_label(tmp_path: Path) -> None:
    source = toys.InMemory({"train": marked(200), "val": marked(60), "test": marked(45)}, "sha256:marked")
    here = toys.Bench(toys.task_of(toys.Toy(), source=source), tmp_path)
    job = here.job("finetune", fraction=0.2)
    seen: dict[int, set[int]] = {}
    for inputs, labels in Recorder(job).batches:
        values = ((inputs[:, 0].mean(dim=(1, 2)) + 1) * 127.5).round().int().tolist()
        for value, label in zip(values, labels.tolist(), strict=True):
            seen.setdefault(value, set()).add(label)
    assert set(seen) == set(job.subset.train.tolist())
    assert all(labels == {value % 3} for value, labels in seen.items())


def test_the_result_of_a_grid_is_that_of_its_best_rate_alone(tmp_path: Path) -> None:
    # Each seed tunes itself: the winner's training is the cell, and the others leave no trace in it.
    outcome = FINETUNE.score(bench(tmp_path, lr_grid=(1e-5, 3e-3, 1e30)).job("finetune", seed=2))
    (choice,) = outcome.choices
    alone = FINETUNE.score(bench(tmp_path, lr_grid=(choice.value,)).job("finetune", seed=2))
    assert bits(outcome) == bits(alone) and outcome.similarity == alone.similarity
    assert choice.value == 3e-3 and choice.scores[2] is None
    assert choice.scores[1] == alone.choices[0].scores[0] == -min(point.val_loss for point in outcome.curve)


@pytest.mark.parametrize("events", [5, LEAST_EVENTS - 1, LEAST_EVENTS])
def test_below_the_least_events_the_loss_decides_and_the_choice_says_so(events: int, tmp_path: Path) -> None:
    # An AUC over a handful of images has a handful of values: ties and luck would choose.
    few = events < LEAST_EVENTS
    here = bench(tmp_path, toys.Toy(classes=2, kind="binary", sizes=(60, 2 * events, 45)))
    (choice,) = FINETUNE.score(here.job("finetune")).choices
    assert TaskTraining.load(here.job("finetune")).validate().by_loss == few
    assert choice.criterion.startswith("negative validation loss" if few else "validation AUC")
    scores = [score for score in choice.scores if score is not None]
    assert all(score <= 0 for score in scores) if few else all(0 <= score <= 1 for score in scores)
    assert choice.value == choice.grid[choice.scores.index(max(scores))]


def scripted(monkeypatch: pytest.MonkeyPatch, results: dict[float, ValidationResult | None]) -> list[float]:
    """Let every rate end as the script says, without training; None diverges."""
    tried: list[float] = []

    def run(self: TaskTraining, lr: float) -> FitResult:
        tried.append(lr)
        result = results[lr]
        if result is None:
            raise DivergedError(f"the loss was not a number at step 1 with learning rate {lr:g}")
        point = ValidationPoint(step=1, seconds=0, train_loss=1, val_loss=1, val_score=None)
        return FitResult((point,), result)

    monkeypatch.setattr(TaskTraining, "run", run)
    return tried


GRID = (1e-4, 1e-3, 1e-2)


@pytest.mark.parametrize(
    ("results", "value", "edge"),
    [
        ([(0.5, 0.7), (0.5, 0.9), (0.1, 0.8)], 1e-3, False),
        ([(0.5, 0.9), (0.5, 0.7), (0.1, 0.8)], 1e-4, True),
        ([(0.5, 0.7), (0.5, 0.8), (0.6, 0.9)], 1e-2, True),
        ([(0.5, 0.9), (0.4, 0.9), (0.6, 0.9)], 1e-3, False),  # equal scores: the smaller loss
        ([(0.5, None), (0.4, None), (0.3, None)], 1e-2, True),  # one class in val: the loss decides
        ([None, (0.4, 0.6), None], 1e-3, False),
        ([(0.5, 0.6), None, None], 1e-4, True),
    ],
)
def test_the_best_rate_on_validation_is_taken_and_an_edge_is_marked(
    results: list[tuple[float, float | None] | None],
    value: float,
    edge: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends = {lr: ValidationResult(*r) if r else None for lr, r in zip(GRID, results, strict=True)}
    tried = scripted(monkeypatch, ends)
    monkeypatch.setattr(tuned_training, "share_of_wins", lambda *_: 1.0)
    (choice,) = FINETUNE.score(bench(tmp_path, lr_grid=GRID).job("finetune")).choices
    assert (choice.value, choice.at_edge) == (value, edge)
    assert choice.grid == GRID and choice.scores == tuple(r[1] if r else None for r in results)
    assert tuple(tried) == GRID  # every rate has its trial: equal budgets


def test_a_grid_of_one_rate_has_no_edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, {1e-3: ValidationResult(0.5, 0.7)})
    assert not FINETUNE.score(bench(tmp_path, lr_grid=(1e-3,)).job("finetune")).choices[0].at_edge


def test_where_every_rate_diverges_every_rate_is_named(tmp_path: Path) -> None:
    here = bench(tmp_path, lr_grid=(1e30, 1e32), augment=False)
    with pytest.raises(DivergedError) as error:
        FINETUNE.score(here.job("finetune"))
    assert "learning rate 1e+30" in str(error.value) and "learning rate 1e+32" in str(error.value)
    # and one good rate among them is found
    (choice,) = FINETUNE.score(bench(tmp_path, lr_grid=(1e-3, 1e30)).job("finetune")).choices
    assert choice.value == 1e-3 and choice.scores[1] is None


@pytest.mark.parametrize("protocol", ["linear", "knn", "finetune"])
def test_test_labels_choose_nothing(protocol: str, tmp_path: Path) -> None:
    # With other test labels every choice and every prediction must be the same to the bit.
    task = toys.task_of(toys.Toy(clear=1.0))
    outcomes = []
    for place, target in enumerate((task, toys.permuted_test_labels(task))):
        here = toys.Bench(target, tmp_path / str(place))
        outcomes.append(PROTOCOLS[protocol].score(here.job(protocol)))
    one, two = outcomes
    assert one.choices == two.choices and len(one.choices) == 1
    assert bits(one) == bits(two)


@pytest.mark.parametrize("protocol", ["linear", "knn"])
def test_validation_labels_do_choose(protocol: str, tmp_path: Path) -> None:
    # the counterpart: the test above would pass as well if nothing chose at all
    task = toys.task_of(toys.Toy(clear=0.5, sizes=(60, 30, 45)))
    splits = dict(task.source.load(16, toys.NOWHERE))
    order = np.random.default_rng(1).permutation(30)
    splits["val"] = replace(splits["val"], labels=splits["val"].labels[order])
    other = replace(task, source=toys.InMemory(splits, "sha256:toy"))
    one, two = (
        PROTOCOLS[protocol].score(toys.Bench(target, tmp_path / name).job(protocol)).choices
        for target, name in ((task, "a"), (other, "b"))
    )
    assert one[0].scores != two[0].scores


def test_the_validation_of_a_cell_sees_its_subset_of_validation_labels(tmp_path: Path) -> None:
    here = bench(tmp_path)
    job = here.job("finetune", fraction=0.5)
    outcome = FINETUNE.score(job)
    assert outcome.val_scores.shape == (15, 3) and outcome.test_scores.shape == (45, 3)
    best = min(outcome.curve, key=lambda point: point.val_loss)
    truth = one_hot(job.labels("val"), 3)
    assert primary_value(Predictions("multiclass", truth, outcome.val_scores)) == pytest.approx(
        best.val_score, abs=1e-6
    )
    assert log_loss(truth, outcome.val_scores, "multiclass") == pytest.approx(best.val_loss, abs=1e-5)


def test_between_validations_the_real_feed_never_waits(tmp_path: Path) -> None:
    # resize, augmentation, contract and loss run on the device; one copy there per step would stop it
    here = bench(tmp_path, toys.Toy(variant="color", side=20))
    training = TaskTraining.load(here.job("finetune"))
    feed = training.batch_source()
    feed.batch(0)  # the contract's mean and std go to the device once
    hyper = OptimizerConfig(lr=1e-3, weight_decay=0.01, every=10, patience=5)
    with watched() as (waits, pausing):
        fit(training.model, feed, hyper, pausing(training.validate))
    assert len(waits.seen) <= 2 * 2, waits.seen  # two validations


class Dropping(nn.Module):
    """A backbone with dropout, as several of timm's have by default."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.num_features = inner, 256

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(self.inner(x), 0.5, self.training)


def test_dropout_draws_from_the_seed_and_leaves_the_global_generator_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mednet_bench.baselines.weights import load as loading

    build = loading.build_backbone
    monkeypatch.setattr(loading, "build_backbone", lambda *args, **kw: Dropping(build(*args, **kw)))
    here = bench(tmp_path)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.append(bits(FINETUNE.score(here.job("finetune"))))
        assert torch.equal(torch.get_rng_state(), before)
    assert found[0] == found[1]


def test_the_loss_is_that_of_the_kind_of_task() -> None:
    logits, labels = torch.randn(6, 3), torch.tensor([0, 2, 1, 1, 0, 2])
    for kind in ("binary", "multiclass", "ordinal"):
        expected = -logits.log_softmax(dim=1)[range(6), labels].mean()  # no label smoothing
        assert torch.allclose(loss_of(kind)(logits, labels), expected)
    findings = torch.randint(0, 2, (6, 3)).float()
    p = logits.sigmoid()
    expected = -(findings * p.log() + (1 - findings) * (1 - p).log()).mean()
    assert torch.allclose(loss_of("multilabel")(logits, findings), expected)


def test_more_steps_than_images_and_fewer_images_than_a_batch_are_no_problem(tmp_path: Path) -> None:
    here = bench(tmp_path, toys.Toy(sizes=(6, 6, 6)), batch_size=32, steps=3)
    assert FINETUNE.score(here.job("finetune", fraction=0.5)).test_scores.shape == (6, 3)


def test_the_budget_is_passes_over_the_labels_of_the_cell_within_limits_of_the_steps(tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(toys.QUICK, passes=3.0, steps=(5, 10), lr_grid=(1e-3,), patience=99)
    here = toys.Bench(toys.task_of(toys.Toy()), tmp_path, recipe=recipe)
    jobs = [here.job("finetune", fraction) for fraction in (0.1, 0.5, 1.0)]
    assert [len(job.subset.train) for job in jobs] == [6, 30, 60]
    assert [FINETUNE.score(job).curve[-1].step for job in jobs] == [5, 6, 10]  # ceil(3 * 30 / 16) is 6
    assert [Recorder(job).steps for job in jobs] == [5, 6, 10]
    fixed = msgspec.structs.replace(recipe, steps=(7, 7))
    assert {fixed.steps_for(n) for n in (1, 100, 10**6)} == {7}
    assert FinetuneProtocol.recipe_fields and set(FinetuneProtocol.recipe_fields) <= set(
        TrainingConfig.__struct_fields__
    )


def test_validations_cost_at_most_a_share_of_the_training_and_are_at_least_two() -> None:
    recipe = TrainingConfig(steps=(100, 100), batch_size=30, evaluations=10)  # 3,000 images trained
    found = {n: recipe.validations_for(1000, n) for n in (0, 100, 270, 271, 900, 901, 10_000)}
    assert found == {0: 10, 100: 10, 270: 10, 271: 9, 900: 3, 901: 2, 10_000: 2}
    assert msgspec.structs.replace(recipe, evaluations=1).validations_for(1000, 100) == 1


def test_many_validation_images_mean_few_validations_and_a_note_where_two_are_too_many(
    tmp_path: Path,
) -> None:
    few = bench(tmp_path / "few", toys.Toy(sizes=(60, 90, 45)), steps=20, batch_size=8, lr_grid=(1e-3,))
    many = bench(tmp_path / "many", toys.Toy(sizes=(60, 300, 45)), steps=20, batch_size=8, lr_grid=(1e-3,))
    outcomes = [FINETUNE.score(each.job("finetune")) for each in (few, many)]
    assert [len(outcome.curve) for outcome in outcomes] == [2, 2]
    assert outcomes[0].notes == ("validation cost 38% of a training, since it has at least two",)
    usual = FINETUNE.score(bench(tmp_path, steps=20, lr_grid=(1e-3,)).job("finetune"))
    assert len(usual.curve) == 4 and usual.notes == ()


def test_the_result_has_the_passes_over_its_labels(tmp_path: Path) -> None:
    here = bench(tmp_path, steps=4, batch_size=8, lr_grid=(1e-3,), evaluations=1)
    found = [FINETUNE.score(here.job("finetune", fraction)).passes for fraction in (0.5, 1.0)]
    assert found == [4 * 8 / 30, 4 * 8 / 60]
    assert PROTOCOLS["linear"].score(here.job("linear")).passes == 0


@pytest.mark.parametrize(("best", "neighbor"), [(0, 1), (2, 1)])
def test_an_edge_is_one_only_where_it_beats_its_neighbor_beyond_the_noise(best: int, neighbor: int) -> None:
    asked: list[tuple[int, int]] = []

    def edge(share: float, at: int = best) -> bool:
        wins = lambda a, b: asked.append((a, b)) or share  # noqa: E731
        return describe_choice("lr", (1e-4, 1e-3, 1e-2), (0.5, 0.5, 0.5), at, "", wins).at_edge

    assert edge(0.84) and not edge(0.83)
    assert asked == [(best, neighbor)] * 2
    assert not edge(1.0, at=1) and len(asked) == 2, "nothing is drawn inside the grid"


@pytest.mark.parametrize("by_loss", [False, True])
def test_wins_on_other_images_are_sure_where_the_gap_is_and_even_where_it_is_none(by_loss: bool) -> None:
    rng = np.random.default_rng(1)
    truth = one_hot(rng.integers(0, 3, 300), 3)
    noise = [rng.dirichlet(np.ones(3), 300) for _ in range(2)]
    good = 0.6 * truth + 0.4 * noise[0]
    assert share_of_wins("multiclass", truth, good, noise[1], by_loss) == 1
    assert share_of_wins("multiclass", truth, noise[1], good, by_loss) == 0
    assert share_of_wins("multiclass", truth, good, good, by_loss) == 0
    close = 0.6 * truth + 0.4 * noise[1]
    share = share_of_wins("multiclass", truth, close, good, by_loss)
    assert 0 < share < 1 and share == share_of_wins("multiclass", truth, close, good, by_loss)
    assert share + share_of_wins("multiclass", truth, good, close, by_loss) == pytest.approx(1, abs=0.02)
