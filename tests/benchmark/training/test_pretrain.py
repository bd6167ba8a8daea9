"""Pretraining of a MedNet: no target image, one head per source, repeatable to the bit."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import toys
from torch import Tensor, nn
from waits import watched

from mednet_bench.baselines.init import InitCard, PretrainPlan
from mednet_bench.baselines.pretrain_options import PretrainOptions
from mednet_bench.baselines.sources.mednet import resolve_mednet
from mednet_bench.baselines.weights.load import load_backbone
from mednet_bench.baselines.weights.prepare import InputPreparation
from mednet_bench.benchmark.pretraining import automatic as module
from mednet_bench.benchmark.pretraining import trainer as trainer_module
from mednet_bench.benchmark.pretraining.automatic import pretrain_automatic
from mednet_bench.benchmark.pretraining.config import PretrainCallbacks, PretrainConfig, PretrainOutcome
from mednet_bench.benchmark.pretraining.in_memory_loader import MemoryImages
from mednet_bench.benchmark.pretraining.mednet_cache import PretrainFacts, read_pretrain_facts
from mednet_bench.benchmark.pretraining.trainer import PretrainTrainer
from mednet_bench.benchmark.run.cell_runner import CACHED_WEIGHTS_NOTE, CellRunner
from mednet_bench.benchmark.run.planner import ResolvedPlan, build_plan
from mednet_bench.benchmark.run.scheduler import ResumeRules, pending_cells
from mednet_bench.benchmark.schema.plan import PlannedCell, TrainingConfig
from mednet_bench.benchmark.schema.records import Record, RecordStore
from mednet_bench.benchmark.training.augment import AugmentRule
from mednet_bench.benchmark.training.device_data import as_stored
from mednet_bench.core.errors import StoppedError, UserError
from mednet_bench.reports.analysis.pretraining_facts import OBJECTIVE, NamedFacts, find_single_difference
from mednet_bench.tasks.catalog import catalog
from mednet_bench.tasks.task import DataLocations, Split, Task

RECIPE = TrainingConfig(pretrain_images=256, pretrain_batch=32, pretrain_lr=3e-3)


def sources() -> tuple[Task, ...]:
    """Three kinds of source: single label, findings, and one that allows its validation split."""
    return (
        toys.task_of(toys.Toy(classes=3, sizes=(300, 30, 30), seed=1), "single"),
        toys.task_of(toys.Toy(kind="multilabel", classes=4, sizes=(80, 20, 20), seed=2), "several"),
        toys.task_of(toys.Toy("binary", 2, (60, 40, 20), seed=3), "both", pretrain_splits=("train", "val")),
    )


def plan_of(tasks: tuple[Task, ...] = (), side: int = 16) -> PretrainPlan:
    tasks = tasks or sources()
    sizes = tuple(task.source.sizes(toys.NOWHERE)[0] for task in tasks)
    return PretrainPlan(tasks[0].variant, tasks, sizes, toys.ARCH, side, "identity")


def make(folder: Path, tasks: tuple[Task, ...] = (), recipe: TrainingConfig = RECIPE) -> PretrainFacts:
    return pretrain_automatic(plan_of(tasks), recipe, toys.NOWHERE, "cpu", folder / "weights.safetensors")


class EnoughError(Exception):
    """Stops a pretraining where its training would begin."""


def caught(
    plan: PretrainPlan, recipe: TrainingConfig = RECIPE, places: DataLocations = toys.NOWHERE
) -> PretrainConfig:
    """Prepare a pretraining to the last detail, and stop it there."""
    found: list[PretrainConfig] = []

    def stop(job: PretrainConfig, keeping: object) -> None:
        found.append(job)
        raise EnoughError

    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(module, "train", stop)
        with pytest.raises(EnoughError):
            pretrain_automatic(plan, recipe, places, "cpu", Path(folder) / "weights.safetensors")
    return found[0]


def pixels(job: PretrainConfig) -> Tensor:
    """All images of a pretraining, in the order of its pools."""
    assert isinstance(job.images, MemoryImages)
    return job.images.images


def seen(job: PretrainConfig) -> Iterator[tuple[Tensor, Tensor]]:
    """The inputs and targets of each step, as they reach the network."""
    trainer = PretrainTrainer(job)
    found: list[tuple[Tensor, Tensor]] = []

    def keep(batch: Tensor, numbers: Tensor, targets: Tensor) -> Tensor:
        found.append((trainer.prepare.normalize(trainer.augment(batch.float(), numbers)), targets))
        return torch.zeros(())

    trainer._backward = keep  # type: ignore[method-assign]
    images = job.images.batches(trainer.stream(0))
    for step in range(job.settings.steps):
        trainer.step(step, images)
        yield found[-1]


def test_two_pretrainings_of_one_plan_give_the_same_file(tmp_path: Path) -> None:
    torch.manual_seed(1)
    one = make(tmp_path / "one")
    torch.manual_seed(2)
    state = torch.get_rng_state()
    two = make(tmp_path / "two")
    assert one.sha256 == two.sha256
    assert one.sha256 == hashlib.sha256((tmp_path / "one/weights.safetensors").read_bytes()).hexdigest()
    assert one.scores == two.scores
    assert torch.equal(torch.get_rng_state(), state)  # the cells that follow draw as if nothing had been
    other = make(tmp_path / "three", recipe=msgspec.structs.replace(RECIPE, pretrain_lr=1e-3))
    assert other.sha256 != one.sha256


class Dropping(nn.Module):
    """A backbone that drops units in training, as timm's Swin and others do by default."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.num_features = inner, 256

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.inner(x), 0.3, self.training)


def test_a_backbone_with_dropout_is_made_the_same_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = trainer_module.build_backbone
    monkeypatch.setattr(trainer_module, "build_backbone", lambda *args: Dropping(build(*args)))
    hashes = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        hashes.add(make(tmp_path / str(seed)).sha256)
        assert torch.equal(torch.get_rng_state(), state)
    assert len(hashes) == 1


def test_what_was_made_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(tmp_path)
    file = tmp_path / "weights.safetensors"
    written = file.stat().st_mtime_ns
    monkeypatch.setattr(module, "train", lambda *args: pytest.fail("trained again"))
    assert make(tmp_path) == first == read_pretrain_facts(file)
    assert file.stat().st_mtime_ns == written


def test_a_process_that_was_overtaken_takes_the_weights_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, lock, calls = module.train, tmp_path / "weights.lock", []

    def overtaken(job: PretrainConfig, keeping: PretrainCallbacks) -> PretrainOutcome:
        calls.append(job)
        result = train(job, keeping)
        if len(calls) == 1:  # meanwhile the lease has ended, and another process pretrains
            lock.unlink()
            calls.append(make(tmp_path))
        return result

    monkeypatch.setattr(module, "train", overtaken)
    first, written = make(tmp_path), (tmp_path / "weights.safetensors").stat().st_mtime_ns
    assert [first] == [each for each in calls if isinstance(each, PretrainFacts)] and len(calls) == 3
    assert make(tmp_path) == first and not lock.exists()
    assert (tmp_path / "weights.safetensors").stat().st_mtime_ns == written


def flip_one_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-10] ^= 1  # of one weight
    file.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "one bit": flip_one_bit,
    "cut": lambda file: os.truncate(file, file.stat().st_size // 2),
    "empty": lambda file: file.write_bytes(b""),
    "facts gone": lambda file: file.with_suffix(".json").unlink(),
    "other weights, facts gone": lambda file: (flip_one_bit(file), file.with_suffix(".json").unlink()),
    "facts cut": lambda file: os.truncate(file.with_suffix(".json"), 20),
}


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResolvedPlan:
    """A pretraining and the scoring of its weights."""
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    options = {
        "inits": "mednet",
        "protocols": "knn",
        "fractions": "1",
        "seeds": "0",
        **msgspec.structs.asdict(RECIPE),
    }
    request = toys.run_config(tmp_path / "run", **options)
    target = toys.task_of(toys.Toy(), "target")
    return build_plan(request, [target], [target, *sources()], toys.NOWHERE)


def test_the_record_says_in_how_many_parts_a_pretraining_was_computed(
    grid: ResolvedPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, tried = module.train, []

    def run_short(job: PretrainConfig, keeping: PretrainCallbacks) -> PretrainOutcome:
        tried.append(job.settings.accumulate)
        if len(tried) < 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return train(job, keeping)

    monkeypatch.setattr(module, "train", run_short)
    notes = [
        "memory was short: each batch was accumulated in 2 parts",
        "pretraining options: freeze_norm=true",
    ]
    for cached in ([], [CACHED_WEIGHTS_NOTE]):
        found = CellRunner(grid, "cpu").compute(grid.plan.cells[0])[0].notes
        assert sorted(found) == sorted([*cached, *notes])
    assert tried == [1, 2]


def test_records_of_pretrained_weights_state_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    target, named = toys.task_of(toys.Toy(), "target"), {}
    recipe = msgspec.structs.asdict(RECIPE)
    for objective in ("supervised", "simclr"):
        request = toys.run_config(
            tmp_path / objective, inits="mednet", protocols="knn", fractions="1", seeds="0",
            pretrain_option={"mednet": {"objective": objective}}, **recipe,
        )  # fmt: skip
        plan = build_plan(request, [target], [target, *sources()], toys.NOWHERE)
        runner, (first, score) = CellRunner(plan, "cpu"), plan.plan.cells
        record, _ = runner.compute(first)
        scored, _ = runner.compute(score, [record])
        assert scored.init is not None
        named[objective] = NamedFacts(objective, toys.ARCH, scored.init)
        assert scored.init.pretraining_images == record.counts.train > 0  # type: ignore[union-attr]
        assert (scored.init.started_from, scored.init.images_of) == ("scratch", "gray")
    found = find_single_difference(named["supervised"], named["simclr"])
    assert found is not None and (found.fact, found.a, found.unsure) == (OBJECTIVE, "simclr", ())
    assert "self-supervised SimCLR instead of supervised" in found.question


def test_options_change_the_identity_of_their_own_init_only(tmp_path: Path) -> None:
    target = toys.task_of(toys.Toy(), "target")

    def identity(**given: dict[str, object]) -> str:
        request = toys.run_config(tmp_path, inits="mednet,meanvar:mednet", pretrain_option=given)
        plan = build_plan(request, [target], [target, *sources()], toys.NOWHERE)
        pretraining = plan.cards["target", toys.ARCH, "meanvar:mednet"].source.pretraining
        assert pretraining and pretraining == plan.cards["target", toys.ARCH, "mednet"].pretraining
        return pretraining.identity

    usual = identity()
    assert identity(mednet={"objective": "supervised"}) == usual
    changes = ({"objective": "mixed"}, {"ema": 0.9}, {"lr": 0.01}, {"augmentation": "strong"})
    assert len({usual, *(identity(mednet=dict(change)) for change in changes)}) == 5
    with pytest.raises(UserError, match="this run pretrains no continued"):
        identity(continued={"lr": 0.01})


def test_options_reach_the_training() -> None:
    options = PretrainOptions(objective="mixed", ema=0.5, lr=0.02)
    settings = caught(replace(plan_of(), options=options)).settings
    assert (settings.objective, settings.augmentation) == ("mixed", "strong")
    assert (settings.ema, settings.lr) == (0.5, 0.02)
    usual = caught(plan_of()).settings
    assert (usual.objective, usual.augmentation, usual.ema, usual.lr) == ("supervised", "standard", 0, 3e-3)
    assert (usual.layer_decay, usual.anchor) == (1, 0)


def test_images_that_change_while_they_are_read_give_no_weights(
    grid: ResolvedPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, first = module._load_pools, grid.plan.cells[0]

    def change(plan: PretrainPlan, *rest: Any) -> object:
        found = load(plan, *rest)
        object.__setattr__(plan.sources[0].source, "digest", "sha256:other")
        return found

    monkeypatch.setattr(module, "_load_pools", change)
    with pytest.raises(StoppedError, match="changed after this run was planned"):
        CellRunner(grid, "cpu").compute(first)
    file = grid.pretraining(first.cell).file
    assert file is not None and not file.exists()


def test_weights_that_changed_since_they_were_made_are_refused_and_made_anew(
    grid: ResolvedPlan, tmp_path: Path
) -> None:
    first, score = grid.plan.cells
    bench, store = CellRunner(grid, "cpu"), RecordStore(tmp_path / "run")
    record, _ = bench.compute(first)
    store.write(record, None)
    assert pending_cells(grid, store, ResumeRules()) == [score]
    file = grid.card(score.cell).file
    assert file is not None
    for name, damage in DAMAGES.items():
        damage(file)
        with pytest.raises(UserError, match="run the same command again"):
            bench.compute(score, [record])
        assert pending_cells(grid, store, ResumeRules()) == [first, score], name
        again, _ = bench.compute(first)
        notes = tuple(note for note in again.notes if note != CACHED_WEIGHTS_NOTE)
        assert again.hashes == record.hashes and notes == record.notes, name
        scored, _ = bench.compute(score, [again])
        assert scored.hashes.weights == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
        assert scored.hashes.weights == record.hashes.weights


def test_a_machine_with_another_cache_computes_with_the_weights_of_the_run(
    grid: ResolvedPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, score = grid.plan.cells
    record, _ = CellRunner(grid, "cpu").compute(first)
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "other"))
    assert pending_cells_after(grid, record, tmp_path) == [score]
    scored, _ = CellRunner(grid, "cpu").compute(score, [record])
    assert scored.hashes.weights == record.hashes.weights
    assert not (tmp_path / "other" / "mednet").exists()


def test_other_weights_than_those_of_finished_cells_are_refused(
    grid: ResolvedPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = grid.plan.cells
    record, _ = CellRunner(grid, "cpu").compute(first)
    other = msgspec.structs.replace(record.hashes, weights="sha256:0123")
    assert pending_cells_after(grid, msgspec.structs.replace(record, hashes=other), tmp_path) == [
        *grid.plan.cells
    ]
    file = grid.pretraining(first.cell).file
    assert file is not None
    file.unlink()
    with pytest.raises(StoppedError, match="with which finished cells were computed: put that file back"):
        CellRunner(grid, "cpu").compute(first)
    assert not file.exists()


def pending_cells_after(grid: ResolvedPlan, record: Record, folder: Path) -> list[PlannedCell]:
    """Return the cells to compute once a record is written."""
    store = RecordStore(folder / "run")
    store.write(record, None)
    return pending_cells(grid, store, ResumeRules())


@pytest.mark.parametrize("lost", ["weights.safetensors", "weights.json"])
def test_half_of_what_was_made_is_made_again(lost: str, tmp_path: Path) -> None:
    # a killed run may leave the weights without their facts: they are not trusted
    first = make(tmp_path)
    (tmp_path / lost).unlink()
    assert read_pretrain_facts(tmp_path / "weights.safetensors") is None
    assert make(tmp_path).sha256 == first.sha256


def test_the_weights_load_strictly_and_are_not_those_it_began_with(tmp_path: Path) -> None:
    facts = make(tmp_path)
    card = InitCard(name="mednet", label="", identity="", file=tmp_path / "weights.safetensors")
    backbone = load_backbone(card, toys.ARCH, 16, seed=3)
    assert backbone.weights == f"sha256:{facts.sha256}"
    start = load_backbone(toys.RANDOM, toys.ARCH, 16, seed=module.PRETRAIN_SEED).module.state_dict()
    moved = [
        name for name, value in backbone.module.state_dict().items() if not torch.equal(value, start[name])
    ]
    assert len(moved) == len(start)


def test_it_learns_its_sources_and_says_how_well(tmp_path: Path) -> None:
    tasks = tuple(replace(task, source=toys.InMemory(toys.splits_of(toy))) for task, toy in easy())
    facts = make(tmp_path, tasks, TrainingConfig(pretrain_images=4000, pretrain_batch=32, pretrain_lr=3e-3))
    assert set(facts.scores) == {"single", "several"}
    assert all(score is not None and score > 0.9 for score in facts.scores.values())
    assert all(280 <= count <= 285 for count in facts.images.values())  # the other 15 are held out
    assert facts.draws == 4000
    label = f"Gray-MedNet pretrained here on {sum(facts.images.values())} images at 16 px (single, several)"
    assert facts.label("gray") == label


def easy() -> Iterator[tuple[Task, toys.Toy]]:
    for name, kind in (("single", "multiclass"), ("several", "multilabel")):
        toy = toys.Toy(kind=kind, classes=3, sizes=(300, 10, 10), clear=5.0, seed=4)
        yield toys.task_of(toy, name, modality="x-ray"), toy  # upside-down, one stripe would be another


def hashes(images: Tensor) -> set[bytes]:
    return {hashlib.sha256(image.numpy().tobytes()).digest() for image in images}


def pool_of(card: InitCard, recipe: TrainingConfig, places: DataLocations) -> Tensor:
    """Every image that the pretraining of a card can see, held-out ones included."""
    assert card.pretraining is not None
    return pixels(caught(card.pretraining, recipe, places)).expand(-1, 3, -1, -1)


def target_of(task: Task, card: InitCard, places: DataLocations) -> Tensor:
    """Every image of the target, test and validation too, brought to the same side."""
    assert card.pretraining is not None
    size = task.source.sizes(places)[0]
    prepare = InputPreparation(card.contract, card.pretraining.input_size)
    parts = [as_stored(split, "cpu") for split in task.source.load(size, places).values()]
    return torch.cat([module._resize_images(part, prepare, "cpu").expand(-1, 3, -1, -1) for part in parts])


def disjoint(target: Task, known: dict[str, Task], places: DataLocations) -> tuple[int, int]:
    """The numbers of different images of target and pool, after a proof that none is in both."""
    need = toys.need_of(
        target, Path("/cache"), tasks=tuple(known.values()), places=places, size=28, input_size=28
    )
    card = resolve_mednet(need)
    ours = hashes(target_of(target, card, places))
    pool = hashes(pool_of(card, TrainingConfig(pretrain_images=20_000), places))
    assert not ours & pool
    return len(ours), len(pool)


@pytest.mark.parametrize("target", ["phantom-findings", "phantom-fundus"])
def test_no_image_of_a_phantom_is_in_its_pool(target: str) -> None:
    known = {name: task for name, task in catalog(toys.NOWHERE).items() if task.generated}
    ours, pool = disjoint(known[target], known, toys.NOWHERE)
    sources = {"phantom-findings": 2, "phantom-fundus": 1}[target]
    assert ours == 840 and pool == sources * 480  # all splits of the target, train of the others


POOLS = {"breastmnist": 4708 + 3600, "pneumoniamnist": 546 + 3600}
POOLS |= {"retinamnist": 2804 + 718, "bccd-cells": 1080 + 718}


@pytest.mark.parametrize(("target", "images"), POOLS.items())
def test_no_real_image_of_a_target_is_in_its_pool(target: str, images: int, data_root: Path) -> None:
    places = DataLocations(roots=(data_root,), medmnist_cache=Path("/nonexistent"), download=False)
    known = catalog(places)
    if not known[target].source.sizes(places) or len(known) < 20:
        pytest.skip("not all of the real sets are here")
    _, pool = disjoint(known[target], known, places)
    assert 0.9 * images < pool <= images  # copies within a source aside, all of it and nothing more


def test_the_search_for_common_images_finds_one() -> None:
    known = {name: task for name, task in catalog(toys.NOWHERE).items() if task.generated}
    # a set that gives itself out for another: what the cards cannot know, the hashes would tell
    copy = replace(known["phantom-fundus"], name="copy", source_group="copy", parents=("copy",))
    with pytest.raises(AssertionError):
        disjoint(known["phantom-fundus"], {**known, "copy": copy}, toys.NOWHERE)


def flat(task: Task, base: int, splits: tuple[str, ...] = ("train", "val", "test")) -> Task:
    """The task with images of one value each, `base` plus their number over all splits."""
    parts, first = {}, base
    for name in splits:
        labels = task.source.load(16, toys.NOWHERE)[name].labels
        values = np.arange(first, first + len(labels), dtype=np.uint8)
        parts[name] = Split(np.repeat(values, 256).reshape(-1, 16, 16), labels)
        first += len(labels)
    return replace(task, source=toys.InMemory(parts))


def test_every_batch_pairs_an_image_with_its_own_label_and_source() -> None:
    one = flat(toys.task_of(toys.Toy(classes=3, sizes=(60, 20, 20), seed=1), "one"), 0)
    two = flat(toys.task_of(toys.Toy(kind="multilabel", classes=4, sizes=(60, 20, 20), seed=2), "two"), 100)
    recipe = TrainingConfig(pretrain_images=640, pretrain_batch=32)
    ready = caught(plan_of((one, two)), recipe)
    assert ready.settings.steps == 20
    trained: dict[int, tuple[float, ...]] = {}
    for inputs, targets in seen(ready):
        values = ((inputs[:, 0].mean(dim=(1, 2)) + 1) * 127.5).round().int().tolist()
        for value, target in zip(values, targets.tolist(), strict=True):
            assert trained.setdefault(value, tuple(target)) == tuple(target)
    for value, target in trained.items():
        place, row = (0, value) if value < 100 else (1, value - 100)
        assert target[-1] == place
        labels = (one, two)[place].source.load(16, toys.NOWHERE)["train"].labels
        assert row < len(labels), "an image of val or test was trained on"
        expected = np.zeros(7)
        if place == 0:
            expected[labels[row]] = 1
        else:
            expected[3:7] = labels[row]
        assert np.array_equal(target[:-1], expected)
    # and the held-out images, on which the network is scored, are not among them
    starts = (0, len(ready.pools[0].labels))
    rows = [first + row for first, pool in zip(starts, ready.pools, strict=True) for row in pool.held_out]
    held = {int(value) for value in pixels(ready)[rows, 0, 0, 0]}
    assert len(held) == 6 and not held & set(trained)
    assert len(trained) == 120 - 6


def test_large_sources_are_drawn_more_often_but_do_not_drown_small_ones() -> None:
    sizes = {"large": 900, "small": 100}
    tasks = tuple(toys.task_of(toys.Toy(classes=2, sizes=(n, 4, 4)), name) for name, n in sizes.items())
    recipe = TrainingConfig(pretrain_images=6400, pretrain_batch=64)
    whose = torch.cat([targets[:, -1] for _, targets in seen(caught(plan_of(tasks), recipe))])
    assert (whose == 0).float().mean() == pytest.approx(3 / 4, abs=0.03)  # by the roots: 30 to 10


def test_the_loss_is_cross_entropy_within_each_source_and_bce_for_findings() -> None:
    heads = PretrainTrainer(caught(plan_of())).heads
    rng = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(24, 9, generator=rng)).requires_grad_()
    whose = torch.arange(24) % 3
    labels = [torch.randint(0, n, (24,), generator=rng) for n in (3, 4, 2)]
    findings = torch.randint(0, 2, (24, 4), generator=rng).float()
    targets = torch.zeros(24, 10)
    expected = torch.zeros(())
    for i in range(24):
        part = (slice(0, 3), slice(3, 7), slice(7, 9))[whose[i]]
        targets[i, -1] = whose[i]
        if whose[i] == 1:
            targets[i, part] = findings[i]
            expected = expected + F.binary_cross_entropy_with_logits(logits[i, part], findings[i])
        else:
            label = labels[whose[i]][i]
            targets[i, part.start + label] = 1
            expected = expected + F.cross_entropy(logits[i, part][None], label[None])
    expected = expected / 24
    ours = heads.losses(logits, targets).mean()
    assert torch.allclose(ours, expected, atol=1e-6)
    (theirs,) = torch.autograd.grad(expected, logits)
    (mine,) = torch.autograd.grad(ours, logits)
    assert torch.allclose(mine, theirs, atol=1e-7)
    for i in range(24):  # no source moves another's outputs
        outside = torch.ones(9, dtype=torch.bool)
        outside[(slice(0, 3), slice(3, 7), slice(7, 9))[whose[i]]] = False
        assert (mine[i, outside] == 0).all()


def test_each_image_is_mirrored_or_turned_only_as_its_own_source_bears() -> None:
    sizes = (40, 4, 4)
    turned = toys.task_of(toys.Toy(sizes=sizes), "cells", modality="microscopy")
    upright = toys.task_of(toys.Toy(sizes=sizes), "chest", modality="x-ray")
    sided = toys.task_of(toys.Toy(sizes=sizes), "organs", modality="ct", classes=("left", "right", "none"))
    draws = PretrainTrainer(caught(plan_of((turned, upright, sided)))).sampler
    whose = np.repeat(np.arange(3), 500)
    corner = torch.zeros(1500, 1, 16, 16)
    corner[:, :, 1:6, 2:8] = 255  # lies at the top and at the left
    numbers = torch.from_numpy(draws.augmentation_draws(0, whose))
    images = AugmentRule(mirror=True, invert=True, color=False)(corner, numbers)[:, 0]
    right = (images[:, :, 8:].sum(dim=(1, 2)) > images[:, :, :8].sum(dim=(1, 2))).view(3, 500)
    below = (images[:, 8:].sum(dim=(1, 2)) > images[:, :8].sum(dim=(1, 2))).view(3, 500)
    assert right.float().mean(dim=1).tolist() == pytest.approx([0.5, 0.5, 0], abs=0.1)
    assert below.float().mean(dim=1).tolist() == pytest.approx([0.5, 0, 0], abs=0.1)


def test_a_source_gives_no_more_images_than_the_budget_and_those_at_random() -> None:
    task = flat(toys.task_of(toys.Toy(sizes=(120, 4, 4)), "one"), 0)
    values = pixels(caught(plan_of((task,)), TrainingConfig(pretrain_images=40, pretrain_batch=8)))[
        :, 0, 0, 0
    ].tolist()
    assert len(set(values)) == 40 and max(values) > 60  # not simply the first


def test_sources_of_several_sizes_share_a_batch() -> None:
    small = toys.task_of(toys.Toy(side=12, sizes=(40, 4, 4)), "small")
    large = toys.task_of(toys.Toy(side=32, sizes=(40, 4, 4)), "large")
    images = pixels(caught(plan_of((small, large))))
    assert images.shape == (80, 1, 16, 16) and images.dtype == torch.uint8


@pytest.mark.parametrize("objective", ["supervised", "mixed"])
def test_a_step_never_waits(objective: str) -> None:
    plan = replace(plan_of(), options=PretrainOptions(objective=objective))
    job = caught(plan, TrainingConfig(pretrain_images=320, pretrain_batch=32))
    trainer = PretrainTrainer(job)
    images = job.images.batches(trainer.stream(0))
    trainer.step(0, images)  # the contract's mean and std go to the device once
    with watched() as (waits, _):
        for step in range(1, job.settings.steps):
            trainer.step(step, images)
    # what the host brings in a step: rows, targets and the numbers of the augmentation, pinned on a GPU
    assert waits.seen == ["lift_fresh"] * 3 * (job.settings.steps - 1)
