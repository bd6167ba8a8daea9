"""The estimate counts what the cells of a plan compute, from the cards alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

from mednet_bench.baselines.init import InputSpec
from mednet_bench.baselines.weights.archs import DEFAULT_ARCH
from mednet_bench.benchmark.run.cell_cost import CellCost, CostCounter, count_disk
from mednet_bench.benchmark.run.estimate import STOP_SHARE, PlanEstimate, estimate_plan
from mednet_bench.benchmark.run.machine_probe import (
    FEW_IMAGES,
    MachineProbe,
    NetworkTimes,
    ProbedNetwork,
    network_shape,
)
from mednet_bench.benchmark.schema.plan import Cell, TrainingConfig
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.benchmark.training import subsets
from mednet_bench.benchmark.training.model import EVAL_BATCH, ImageClassifier
from mednet_bench.core.errors import UserError
from mednet_bench.experiment import PlannedRun, plan_run
from mednet_bench.tasks.task import TASKS, Split


class FixedProbe(MachineProbe):
    """A machine on which each measured thing takes a given time."""

    def network(self, *_: object, **__: object) -> NetworkTimes:
        return NetworkTimes(step=1.0, image=0.001, start=0.5)

    def multiply_adds(self, features: int, columns: int) -> float:
        return 1e9

    def metrics(self, kind: str, classes: int, images: int) -> float:
        return 0.0


def planned_for(folder: Path, **options: Any) -> PlannedRun:
    """Plan from the cards, without any data."""
    config = RunConfig(out=str(folder / "run"), data_root=str(folder), **options)
    return plan_run(config, from_cards=True)


def counted(planned: PlannedRun) -> tuple[CostCounter, list[CellCost]]:
    """Count the costs of a plan for the default architecture."""
    counter = CostCounter(planned.resolved, {(DEFAULT_ARCH, 64, ()): network_shape(DEFAULT_ARCH, 64)})
    return counter, list(counter.count(planned.waiting))


def estimated(planned: PlannedRun) -> PlanEstimate:
    """Estimate a plan without measuring."""
    return estimate_plan(planned.resolved, planned.waiting, "cpu", 1, FixedProbe("cpu"))


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data set on this machine, an empty cache, and no network."""
    monkeypatch.delenv("MEDNET_BENCH_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: pytest.fail("no connection is needed"))


def test_all_tasks_are_estimated_from_their_cards(tmp_path: Path) -> None:
    planned = planned_for(tmp_path, tasks="all", budget="quick")
    found = estimated(planned)
    assert found.cells == {"pretrain": 10, "finetune": 12 * 2 * 3 * 3 + 12 * 2 * 3}
    # by hand from MedMNIST's table: BreastMNIST has 546, 78 and 156 images, so a training has 200 steps
    _, costs = counted(planned)
    breast = [cost for cost in costs if cost.cell.task == "breastmnist" and not cost.cell.longer]
    assert {cost.steps for cost in breast} == {3 * 200} and len(breast) == 18
    assert {cost.work.seen for cost in breast} == {3 * 11 * 8 + 156, 3 * 11 * 78 + 156}
    assert found.disk["downloads"] > 5e8 and found.steps == sum(cost.steps for cost in costs)


def test_a_plan_needs_no_weights_but_a_run_does(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "tasks": "breastmnist",
        "archs": "resnet50",
        "inits": "imagenet",
        "download": False,
    }
    assert planned_for(tmp_path, **options).waiting
    with pytest.raises(UserError, match="issing: breastmnist"):
        plan_run(RunConfig(out=str(tmp_path / "run"), data_root=str(tmp_path), **options))


def test_a_mednet_is_estimated_without_any_source_and_says_what_a_run_needs(tmp_path: Path) -> None:
    planned = planned_for(tmp_path, tasks="breastmnist", inits="mednet,scratch", protocols="linear")
    (card,) = {each.identity: each for each in planned.resolved.cards.values() if each.pretraining}.values()
    assert card.pretraining and "pneumoniamnist" in [task.name for task in card.pretraining.sources]
    (warning,) = planned.warnings()
    assert warning.startswith("mednet: a run needs sources") and "pneumoniamnist" in warning
    both = planned_for(tmp_path, tasks="breastmnist,pneumoniamnist", inits="mednet", protocols="linear")
    assert not both.warnings(), "a run downloads them"


def test_a_public_checkpoint_that_is_not_here_is_estimated_by_its_card(tmp_path: Path) -> None:
    arch, options = "vit_base_patch14_reg4_dinov2", {"tasks": "breastmnist", "protocols": "linear"}
    planned = planned_for(tmp_path, archs=arch, inits="zoo/h0-mini,scratch", download=False, **options)
    built = {planned.resolved.network(each.cell) for each in planned.waiting}
    own, plain = sorted(built, key=lambda network: not network[2])
    assert dict(own[2])["mlp_layer"] == "SwiGLUPacked" and plain == (arch, 64, ())
    assert network_shape(*own).parameters != network_shape(*plain).parameters
    assert any("zoo/h0-mini: no commercial use" in warning for warning in planned.warnings())
    assert estimated(planned).cells["linear"] == len(planned.waiting)


@pytest.mark.parametrize("name", ["breastmnist", "retinamnist", "tissuemnist"])
def test_the_labels_of_a_training_are_as_many_as_it_really_gets(name: str) -> None:
    task, rng = TASKS[name], np.random.default_rng(0)
    counts = task.split_sizes or ()
    train, val = (
        Split(np.empty((n, 0, 0), np.uint8), rng.permutation(np.arange(n) % len(task.classes)))
        for n in counts[:2]
    )
    for fraction in (0.05, 0.1, 0.25, 0.5, 1.0):
        subset = subsets.choose_subset(train, val, fraction, seed=1)
        counted = tuple(subsets.subset_size(task, count, fraction) for count in counts[:2])
        assert counted == (len(subset.train), len(subset.val))


def test_early_stopping_bounds_the_time(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "tasks": "breastmnist",
        "inits": "scratch",
        "seeds": "0",
        "fractions": "1",
        "lr_grid": "1e-3",
    }
    found = estimated(planned_for(tmp_path, steps=100, evaluations=10, patience=5, **options))
    # 100 steps of 1 s; the earliest stop is after the first validation and five that are no better: 60 %
    computing = 100 + (11 * 78 + 156) / 1000
    assert found.seconds.low == pytest.approx(0.6 * computing + 0.5, rel=0.01)
    share = 0.6 + STOP_SHARE * 0.4
    assert found.seconds.expected == pytest.approx(share * computing + 0.5, rel=0.01)
    patient = estimated(planned_for(tmp_path, steps=100, evaluations=5, patience=5, **options))
    assert patient.seconds.low == pytest.approx(patient.seconds.expected), "five validations never stop it"


def test_solvers_grow_with_labels_penalties_and_images(tmp_path: Path) -> None:
    def work(**options: Any) -> float:
        found = counted(planned_for(tmp_path, inits="imagenet", seeds="0", fractions="1", **options))[1]
        return sum(part.multiply_adds for cost in found for part in cost.solver)

    def slope(task: str) -> float:
        """Work per penalty, without the eigenvectors, which all share."""
        few, many = (work(tasks=task, protocols="linear", l2_grid=grid) for grid in ("1,2", "1,2,3,4"))
        return (many - few) / 2

    images = 78_468 / 4_708
    assert slope("chestmnist") / slope("pneumoniamnist") == pytest.approx(14 * images, rel=0.01)
    assert slope("octmnist") / slope("chestmnist") == pytest.approx(4 / 14 * 97_477 / 78_468, rel=0.01)
    assert work(tasks="chestmnist", protocols="linear") > 10 * work(
        tasks="pneumoniamnist", protocols="linear"
    )
    assert work(tasks="tissuemnist", protocols="knn") > 1e12


def test_features_are_computed_and_kept_once_per_weights(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "tasks": "breastmnist",
        "inits": "imagenet,scratch",
        "protocols": "linear,knn",
        "seeds": "0,1",
    }
    counter, costs = counted(planned_for(tmp_path, fractions="0.5,1", **options))
    assert sum(cost.work.seen for cost in costs) == 3 * 780, "ImageNet's once, random weights per seed"
    assert count_disk(counter, costs)["features"] == 3 * 780 * 1280 * 4


def test_the_probe_measures_a_step_without_what_a_training_costs_once() -> None:
    now = 0.0

    def action(count: int) -> None:
        nonlocal now
        now += 0.02 + 0.01 * count

    seconds = MachineProbe("cpu", clock=lambda: now)._time(action, most=100)
    assert seconds == pytest.approx(0.01)


def test_the_probe_uses_the_batches_of_the_cells() -> None:
    seen: set[tuple[bool, int]] = set()

    def see(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        if isinstance(module, ImageClassifier):
            seen.add((module.training, len(args[0])))

    cell = Cell(task="", size=28, input_size=28, arch="test_efficientnet", init="", protocol="finetune")
    hook = nn.modules.module.register_module_forward_pre_hook(see)
    try:
        probe = MachineProbe("cpu", clock=lambda: 0.0)  # so fast that the whole evaluation batch is timed
        probe.network(
            ProbedNetwork(cell, "gray", 24), TASKS["phantom-organ"], InputSpec(), TrainingConfig(), 2
        )
    finally:
        hook.remove()
    assert seen == {(True, 24), (False, FEW_IMAGES), (False, EVAL_BATCH)}
