"""Frozen backbones do not change, and features are computed once, in `linear` and `knn`.

A backbone in training mode would adapt its batch-norm statistics to the test images; a cache that mixes
up two inits would compare a network with itself.
"""

import os
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import toys
from torch import Tensor, nn

from mednet_bench.baselines.init import InitCard, InputSpec
from mednet_bench.baselines.weights.load import LoadedBackbone, load_backbone
from mednet_bench.baselines.weights.prepare import InputPreparation
from mednet_bench.benchmark.run.cell_runner import CellRunner
from mednet_bench.benchmark.run.planner import build_plan
from mednet_bench.benchmark.run.same_result import SAME_RESULT_NOTE
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.benchmark.training import features as module
from mednet_bench.benchmark.training.features import features_of
from mednet_bench.benchmark.training.protocol import PROTOCOLS, ProtocolResult
from mednet_bench.tasks.task import SPLITS

FRACTIONS, SEEDS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0), range(5)
IMAGES = 60 + 30 + 45  # train, val, test of a toy


@dataclass
class Spy:
    """Counts the images that go through any backbone, and keeps the backbones."""

    images: int = 0
    modules: list[nn.Module] = field(default_factory=list)
    states: list[dict[str, Tensor]] = field(default_factory=list)

    def load(self, card: InitCard, arch: str, input_size: int, seed: int) -> LoadedBackbone:
        backbone = load_backbone(card, arch, input_size, seed)
        self.modules.append(backbone.module)
        self.states.append({name: value.clone() for name, value in backbone.module.state_dict().items()})
        backbone.module.register_forward_pre_hook(self.see)
        return backbone

    def see(self, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert not module.training
        self.images += len(args[0])


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    spy = Spy()
    monkeypatch.setattr(module, "load_backbone", spy.load)
    module._load_features.cache_clear()  # or another test's features would serve
    return spy


@pytest.fixture
def loaded(tmp_path: Path) -> InitCard:
    return toys.loaded_card(toys.write_weights(tmp_path / "weights.safetensors"))


def bench(tmp_path: Path, card: InitCard, **facts: object) -> toys.Bench:
    return toys.Bench(toys.task_of(toys.Toy()), tmp_path / "cache", card, **facts)  # type: ignore[arg-type]


def run(bench: toys.Bench, protocol: str, fraction: float = 1.0, seed: int = 0) -> ProtocolResult:
    return PROTOCOLS[protocol].score(bench.job(protocol, fraction, seed))


@pytest.mark.parametrize("protocol", ["linear", "knn"])
def test_no_weight_and_no_statistic_moves(protocol: str, tmp_path: Path, spy: Spy, loaded: InitCard) -> None:
    run(bench(tmp_path, loaded), protocol)
    (module, before) = spy.modules[0], spy.states[0]
    after = module.state_dict()
    assert any("running_mean" in name for name in before)
    assert any("num_batches_tracked" in name for name in before)
    assert all(torch.equal(before[name], value) for name, value in after.items())


def test_features_are_those_of_the_network_in_eval_mode(tmp_path: Path, loaded: InitCard) -> None:
    here = bench(tmp_path, loaded)
    found = features_of(here.job("linear"))
    network = load_backbone(loaded, toys.ARCH, 16, 0).module.eval()
    prepare = InputPreparation(loaded.contract, 16)
    for split in SPLITS:
        with torch.inference_mode():
            expected = network(prepare(here.data.images(split)))
        np.testing.assert_allclose(found.splits[split], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_thirty_cells_cost_one_pass_for_loaded_weights(tmp_path: Path, spy: Spy, loaded: InitCard) -> None:
    here = bench(tmp_path, loaded)
    for fraction in FRACTIONS:
        for seed in SEEDS:
            run(here, "knn", fraction, seed)
            run(here, "linear", fraction, seed) if fraction == 0.1 else None
    assert spy.images == IMAGES


def test_thirty_cells_cost_one_pass_per_seed_for_random_weights(tmp_path: Path, spy: Spy) -> None:
    here = bench(tmp_path, toys.RANDOM)
    for fraction in FRACTIONS:
        for seed in SEEDS:
            run(here, "knn", fraction, seed)
    assert spy.images == IMAGES * len(SEEDS)
    assert len({outcome.weights for outcome in (run(here, "knn", 1.0, seed) for seed in SEEDS)}) == len(SEEDS)


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "features").glob("*.npz"))


@pytest.mark.parametrize("left", [0, 1, 100, 0.5, 0.99])
def test_a_damaged_cache_is_computed_again(left: float, tmp_path: Path, spy: Spy, loaded: InitCard) -> None:
    here = bench(tmp_path, loaded)
    whole = run(here, "knn")
    (file,) = cached(tmp_path)
    os.truncate(file, int(left if left >= 1 else left * file.stat().st_size))
    assert np.array_equal(run(here, "knn").test_scores, whole.test_scores)
    assert spy.images == 2 * IMAGES
    run(here, "knn", 0.5)
    assert spy.images == 2 * IMAGES  # and it was written again


def test_a_flipped_bit_in_the_cache_is_found(tmp_path: Path, spy: Spy, loaded: InitCard) -> None:
    here = bench(tmp_path, loaded)
    whole = run(here, "knn")
    (file,) = cached(tmp_path)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert np.array_equal(run(here, "knn").test_scores, whole.test_scores)
    assert spy.images == 2 * IMAGES


def test_a_cache_of_other_content_is_computed_again(tmp_path: Path, spy: Spy, loaded: InitCard) -> None:
    here = bench(tmp_path, loaded)
    run(here, "knn")
    (file,) = cached(tmp_path)
    np.savez(file, train=np.zeros((3, 2), np.float32))
    run(here, "knn")
    assert spy.images == 2 * IMAGES


def variants(tmp_path: Path, loaded: InitCard) -> dict[str, toys.Bench]:
    here = bench(tmp_path, loaded)
    other_file = toys.write_weights(tmp_path / "other.safetensors", seed=8)
    other_data = toys.task_of(replace(toys.Toy(), seed=1))
    return {
        "the same": here,
        "contract": bench(tmp_path, replace(loaded, contract=InputSpec(mean=(0.4, 0.5, 0.5)))),
        "interpolation": bench(tmp_path, replace(loaded, contract=InputSpec(interpolation="bicubic"))),
        "weights": bench(tmp_path, toys.loaded_card(other_file)),
        "input size": bench(tmp_path, loaded, side=24),
        "data": toys.Bench(other_data, tmp_path / "cache", loaded),
        "random weights": bench(tmp_path, toys.RANDOM),
    }


def test_each_fact_that_decides_the_features_has_an_entry_of_its_own(
    tmp_path: Path, spy: Spy, loaded: InitCard
) -> None:
    seen = []
    for name, here in variants(tmp_path, loaded).items():
        before = spy.images
        features = features_of(here.job("linear"))
        assert spy.images == before + IMAGES, f"{name} was served from another's entry"
        seen.append(features.splits["test"])
    assert len(cached(tmp_path)) == len(seen)
    assert len({part.tobytes() for part in seen if part.shape == seen[0].shape}) >= len(seen) - 1


def test_what_does_not_decide_the_features_shares_an_entry(
    tmp_path: Path, spy: Spy, loaded: InitCard
) -> None:
    here = bench(tmp_path, loaded)
    features_of(here.job("linear"))
    features_of(here.job("knn", fraction=0.1, seed=3))
    features_of(bench(tmp_path, replace(loaded, name="renamed", label="x")).job("linear"))
    recipe = msgspec.structs.replace(here.recipe, steps=(7, 7))
    features_of(bench(tmp_path, loaded, recipe=recipe).job("linear"))
    assert spy.images == IMAGES and len(cached(tmp_path)) == 1


def test_the_record_of_a_cached_cell_still_names_the_weights(tmp_path: Path, loaded: InitCard) -> None:
    here = bench(tmp_path, loaded)
    fresh = run(here, "knn")
    module._load_features.cache_clear()
    assert run(here, "knn").weights == fresh.weights == load_backbone(loaded, toys.ARCH, 16, 0).weights


def test_a_seed_that_changes_nothing_repeats_the_result_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    inits = f"mednet={toys.write_card(tmp_path)}"
    request = toys.run_config(tmp_path / "run", inits=inits, protocols="knn", fractions="0.2,1", seeds="0..1")
    task = toys.task_of(toys.Toy(clear=0.5))
    grid = build_plan(request, [task], [task], toys.NOWHERE)
    store = RecordStore(request.folder)
    for planned in grid.plan.cells:  # each in a process of its own, as far as memory goes
        needs = [record for key in planned.needs if (record := store.read(key))]
        store.write(*CellRunner(grid, "cpu").compute(planned, needs))
    records = [record for planned in grid.plan.cells if (record := store.read(planned.key))]
    alone = [CellRunner(grid, "cpu").compute(planned)[0] for planned in grid.plan.cells]
    assert [record.metrics for record in records] == [record.metrics for record in alone]
    assert [record.val_metrics for record in records] == [record.val_metrics for record in alone]
    part, other, whole, again = records
    assert part.hashes.subset != other.hashes.subset and not other.notes
    assert whole.hashes == again.hashes and again.notes == (SAME_RESULT_NOTE,) and not whole.notes
    assert whole.metrics == again.metrics != part.metrics and again.choices == whole.choices
    assert whole.predictions == again.predictions and store.has_predictions(again)


def test_only_the_same_result_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    inits, task = f"mednet={toys.write_card(tmp_path)},scratch", toys.task_of(toys.Toy(clear=0.5))
    request = toys.run_config(tmp_path / "run", inits=inits, protocols="knn", fractions="0.2,1", seeds="0..1")
    grid = build_plan(request, [task], [task], toys.NOWHERE)
    waits = [(planned.cell.init, planned.cell.fraction) for planned in grid.plan.cells if planned.needs]
    assert waits == [("mednet", 1.0)], "scratch has other weights, and 20 % other labels, with every seed"
    resampled = build_plan(msgspec.structs.replace(request, resample=True), [task], [task], toys.NOWHERE)
    assert not any(planned.needs for planned in resampled.plan.cells)
    first, again = (p for p in grid.plan.cells if (p.cell.init, p.cell.fraction) == ("mednet", 1.0))
    store = RecordStore(request.folder)
    record = store.write(*CellRunner(grid, "cpu").compute(first))
    store.predictions_of(first.key).write_bytes(b"damaged")
    assert not CellRunner(grid, "cpu").compute(again, [record])[0].notes, "damaged predictions were repeated"


def test_phantoms_and_their_read_only_arrays_pass_without_a_warning(tmp_path: Path, loaded: InitCard) -> None:
    here = bench(tmp_path, loaded)
    for split in here.data.splits.values():
        split.images.flags.writeable = split.labels.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(here, "knn", 0.5)
        run(here, "linear", 0.5)
