"""Training loop: pure batch order, separate heads, exact resumes, any number of processes."""

import signal
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from small_training import SETTINGS, job, left, pools, start, train

from mednet_bench.benchmark.pretraining.batch_sampler import BatchSampler
from mednet_bench.benchmark.pretraining.checkpoints import list_checkpoints, newest_checkpoint
from mednet_bench.benchmark.pretraining.config import PretrainCallbacks, StoppedAtError
from mednet_bench.benchmark.pretraining.objective import OBJECTIVES
from mednet_bench.benchmark.pretraining.pretrain_result import CurvePoint, PretrainSettings
from mednet_bench.benchmark.pretraining.sources import SourcePool, hold_out, pool_starts
from mednet_bench.benchmark.pretraining.train_loop import run_training
from mednet_bench.benchmark.pretraining.trainer import PretrainTrainer

CURVE_TOLERANCE = 2e-6
"""Largest difference of a loss between 1 and 2 processes; 1.4e-7 was measured over these 60 steps. The sums
of floats are taken in another order, and nothing else differs."""


def pool_of(count: int) -> SourcePool:
    rows = np.arange(count)
    return SourcePool("some", "multiclass", ("a", "b"), (True, True), rows % 2, rows, rows[:0])


def test_sources_are_drawn_by_the_root_of_their_size_and_every_batch_holds_its_share() -> None:
    draws = BatchSampler([pool_of(900), pool_of(100)], 64, seed=3, temperature=2)
    large = np.array([(draws.rows(step) < 900).sum() for step in range(50)])
    assert large.sum() == pytest.approx(50 * 64 * 3 / 4, abs=1)  # by the roots: 30 to 10
    assert np.abs(large - 48).max() <= 1
    even = BatchSampler([pool_of(900), pool_of(100)], 64, seed=3, temperature=1)
    assert even.counts_before(1000).tolist() == pytest.approx([900, 100], abs=1)


def test_no_image_is_repeated_before_all_of_its_source_were_shown() -> None:
    sources = [pool_of(70), pool_of(9), pool_of(31)]
    draws = BatchSampler(sources, 16, seed=1, temperature=2)
    rows = np.concatenate([draws.rows(step) for step in range(60)])
    assert draws.counts_before(len(rows)).tolist() == np.bincount(draws.pool_numbers(rows)).tolist()
    for place, pool in enumerate(sources):
        mine = rows[draws.pool_numbers(rows) == place] - pool_starts(sources)[place]
        full, rest = divmod(len(mine), len(pool.labels))
        counts = np.bincount(mine, minlength=len(pool.labels))
        assert full > 3 and set(counts) <= {full, full + 1} and (counts == full + 1).sum() == rest
        # and not in the same order again
        assert not np.array_equal(mine[: len(pool.labels)], mine[len(pool.labels) : 2 * len(pool.labels)])


def test_any_step_can_be_asked_for_alone() -> None:
    order = [BatchSampler(pools(), 12, seed=7, temperature=2).rows(step).tolist() for step in range(40)]
    again = BatchSampler(pools(), 12, seed=7, temperature=2)
    for step in (39, 0, 17):
        assert again.rows(step).tolist() == order[step]
        whose = again.pool_numbers(np.array(order[step]))
        fresh = BatchSampler(pools(), 12, seed=7, temperature=2)
        assert np.array_equal(again.augmentation_draws(step, whose), fresh.augmentation_draws(step, whose))
    assert BatchSampler(pools(), 12, seed=8, temperature=2).rows(5).tolist() != order[5]
    # the same images in the same order, however they are cut into batches
    halves = BatchSampler(pools(), 6, seed=7, temperature=2)
    assert sorted(halves.rows(10).tolist() + halves.rows(11).tolist()) == sorted(order[5])


def test_groups_are_held_out_whole() -> None:
    groups = np.repeat(np.arange(40), 5)
    groups[:20] = -1  # these stand for themselves
    train_rows, held = hold_out(200, groups, np.random.default_rng(0))
    assert sorted([*train_rows, *held]) == list(range(200)) and len(held) == 10
    of_groups = {int(group) for group in groups[held]} - {-1}
    assert of_groups and not of_groups & {int(group) for group in groups[train_rows]}
    assert len(hold_out(100, np.zeros(100, np.int64), np.random.default_rng(0))[1]) == 0


def test_a_source_moves_the_outputs_of_its_own_head_only() -> None:
    trainer = PretrainTrainer(job())
    for place, own in enumerate(((0, 3), (3, 5), (5, 9))):
        rows = trainer.heads.starts[place] + np.arange(4)
        logits = torch.randn(4, 9, requires_grad=True)
        targets = trainer.heads.targets(rows, np.full(4, place))
        trainer.heads.losses(logits, targets).sum().backward()
        assert logits.grad is not None
        inside = torch.zeros(9, dtype=torch.bool)
        inside[slice(*own)] = True
        assert (logits.grad[:, ~inside] == 0).all() and (logits.grad[:, inside] != 0).all()


def test_smoothing_keeps_to_the_classes_of_the_source() -> None:
    trainer = PretrainTrainer(job(msgspec.structs.replace(SETTINGS, smoothing=0.3)))
    logits = torch.randn(4, 9)
    rows = trainer.heads.starts[2] + np.arange(4)
    ours = trainer.heads.losses(logits, trainer.heads.targets(rows, np.full(4, 2)))
    truth = torch.from_numpy(trainer.config.pools[2].labels[:4])
    theirs = torch.nn.functional.cross_entropy(logits[:, 5:], truth, label_smoothing=0.3, reduction="none")
    assert torch.allclose(ours, theirs, atol=1e-6)


def gradients(settings: PretrainSettings) -> dict[str, torch.Tensor]:
    """The gradients of the first step of a network whose images do not see one another."""
    torch.manual_seed(0)
    trainer = PretrainTrainer(job(settings))
    trainer.network.eval()  # no batch norm over the part, no dropout
    trainer.optimizer.step = lambda *_: None  # type: ignore[method-assign]
    trainer.step(0, trainer.config.images.batches(trainer.stream(0)))
    return {
        name: value.grad.clone()
        for name, value in trainer.network.named_parameters()
        if value.grad is not None
    }


def test_a_batch_in_parts_has_the_gradients_of_the_whole() -> None:
    whole = gradients(msgspec.structs.replace(SETTINGS, accumulate=1))
    for parts in (2, 5):  # 12 images in 5 parts are not even
        cut = gradients(msgspec.structs.replace(SETTINGS, accumulate=parts))
        assert all(torch.allclose(cut[name], value, atol=1e-7) for name, value in whole.items())
    assert any((value != 0).any() for value in whole.values())


def test_parts_count_alike_in_the_running_statistics() -> None:
    trainer = PretrainTrainer(job(msgspec.structs.replace(SETTINGS, accumulate=3, projection=0)))
    norm = trainer.network.get_submodule("backbone.1")
    seen: list[torch.Tensor] = []
    norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].mean(dim=(0, 2, 3))))
    trainer.network.train()
    trainer.step(0, trainer.config.images.batches(trainer.stream(0)))
    expected = 0.1 * torch.stack(seen).mean(dim=0)  # from 0, with a momentum of 0.1
    assert len(seen) == 3
    assert torch.allclose(norm.get_buffer("running_mean"), expected, atol=1e-6)


def test_the_moving_average_follows_the_weights_and_is_what_is_kept() -> None:
    trainer = PretrainTrainer(job())
    assert trainer.average is not None
    kept = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    images = trainer.config.images.batches(trainer.stream(0))
    for step in range(30):
        trainer.step(step, images)
        share = 1 - min(0.9, (1 + step) / (10 + step))
        for name, value in trainer.network.state_dict().items():
            kept[name] = torch.lerp(kept[name], value, share) if value.is_floating_point() else value.clone()
    averaged = trainer.average.network.state_dict()
    assert all(torch.allclose(averaged[name], value, atol=1e-6) for name, value in kept.items())
    result = run_training(job(msgspec.structs.replace(SETTINGS, ema=0.0)), PretrainCallbacks())
    assert not torch.equal(
        result.state["0.weight"], run_training(job(), PretrainCallbacks()).state["0.weight"]
    )


def test_the_curve_tells_losses_and_scores_of_every_source() -> None:
    rows: list[CurvePoint] = []
    result = run_training(
        job(), PretrainCallbacks(evaluate_every=25, on_row=lambda curve: rows.append(curve[-1]))
    )
    assert [point.step for point in result.curve] == list(range(1, 61)) and rows == list(result.curve)
    assert [point.step for point in rows if point.scores] == [25, 50, 60]
    assert set(rows[-1].scores) == set(rows[-1].losses) == {"large", "findings", "grades"}
    assert rows[-1].train_loss < rows[0].train_loss
    by_source = {source.name: source for source in result.sources}
    assert sum(source.draws for source in result.sources) == 60 * 12
    assert by_source["grades"].images == by_source["grades"].available == 19
    assert by_source["large"].held_out == 4  # whole groups of 4, at most 5 % of 120


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def settings_of(objective: str, **changes: int) -> PretrainSettings:
    rule = OBJECTIVES[objective].augmentation
    return msgspec.structs.replace(SETTINGS, objective=objective, augmentation=rule, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_a_training_that_is_killed_again_and_again_ends_with_the_same_bits(
    objective: str, tmp_path: Path
) -> None:
    settings = settings_of(objective, steps=200)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    (other,) = start(train, whole, settings, 1000)
    rng = np.random.default_rng()  # any moment will do
    for least in (7, 90):
        (process,) = start(train, killed, settings, 7, (least, rng.uniform(0.0001, 0.03)))
        process.join()
        assert process.exitcode == -signal.SIGALRM  # not handled: as sudden as kill -9
        assert len(list_checkpoints(killed)) <= 3  # it may die before it tidies up
    (process,) = start(train, killed, settings, 7)
    for each in (process, other):
        each.join()
        assert each.exitcode == 0
    (expected, curve), (found, resumed) = left(whole), left(killed)
    assert same(expected, found)
    assert resumed == curve


def test_a_damaged_checkpoint_counts_as_absent_and_is_no_code(tmp_path: Path) -> None:
    asked = iter([False] * 30 + [True] * 99)
    with pytest.raises(StoppedAtError, match="stopped after step 31"):
        run_training(job(), PretrainCallbacks(tmp_path, checkpoint_every=20, should_stop=lambda: next(asked)))
    last, before = list_checkpoints(tmp_path)[::-1]
    assert (last.stem, before.stem) == ("step-000000031", "step-000000020")
    last.write_bytes(last.read_bytes()[:-200])
    found = newest_checkpoint(tmp_path)
    assert found and found[0].step == 20
    assert same(
        run_training(job(), PretrainCallbacks(tmp_path)).state, run_training(job(), PretrainCallbacks()).state
    )


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["supervised", "mixed"])
def test_two_processes_train_as_one(objective: str, tmp_path: Path) -> None:
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        folder.mkdir()
    for process in [
        process
        for world, folder in enumerate(folders, 1)
        for process in start(train, folder, settings_of(objective), 25, world=world)
    ]:
        process.join()
        assert process.exitcode == 0
    (_, one), (_, two) = (left(folder) for folder in folders)
    assert [row[0] for row in one] == [row[0] for row in two] == list(range(1, 61))
    worst = max(
        abs(a - b) for x, y in zip(one, two, strict=True) for a, b in zip(x, y, strict=True) if a and b
    )
    print(f"largest difference of a loss: {worst:.1e}")
    assert worst < CURVE_TOLERANCE
    # a checkpoint of two can be taken up by one
    assert newest_checkpoint(folders[1]) is not None


def test_a_checkpoint_of_version_0_1_is_resumed() -> None:
    trainer, resumed = PretrainTrainer(job()), PretrainTrainer(job())
    for parameter in trainer.network.parameters():
        parameter.grad = torch.ones_like(parameter)
    trainer.optimizer.step()
    tensors = trainer.state_tensors()
    tensors["optimiser"] = tensors.pop("optimizer")
    assert not resumed.optimizer.state
    resumed.load_tensors(tensors)
    assert len(resumed.optimizer.state) == len(trainer.optimizer.state) > 0
    weights = zip(trainer.network.parameters(), resumed.network.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in weights)
