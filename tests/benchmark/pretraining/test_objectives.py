"""Objectives: losses equal references, images without labels count, initial weights are kept."""

import copy
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from small_training import SETTINGS, Tiny, job
from torch import nn

from mednet_bench.baselines.init import InitCard
from mednet_bench.benchmark.pretraining.batchnorm_stats import fold_statistics
from mednet_bench.benchmark.pretraining.config import PretrainCallbacks, PretrainConfig, StoppedAtError
from mednet_bench.benchmark.pretraining.objective import OBJECTIVES
from mednet_bench.benchmark.pretraining.objectives.simclr import TEMPERATURE, nt_xent
from mednet_bench.benchmark.pretraining.pretrain_result import PretrainSettings
from mednet_bench.benchmark.pretraining.train_loop import run_training
from mednet_bench.benchmark.pretraining.trainer import PretrainTrainer

TOLERANCE = 1e-5


def settings_of(objective: str, **changes: object) -> PretrainSettings:
    rule = OBJECTIVES[objective].augmentation
    return msgspec.structs.replace(SETTINGS, objective=objective, augmentation=rule, **changes)


def views(count: int = 7, width: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    one, two = (torch.randn(count, width, generator=generator) for _ in range(2))
    return one.requires_grad_(), two


def plain_nt_xent(one: NDArray, two: NDArray, temperature: float) -> list[float]:
    """The equation of the paper, term by term."""
    both = np.concatenate([one, two])
    both = both / np.linalg.norm(both, axis=1, keepdims=True)
    count, losses = len(one), []
    for i in range(2 * count):
        j = (i + count) % (2 * count)
        others = [math.exp(both[i] @ both[k] / temperature) for k in range(2 * count) if k != i]
        losses.append(-math.log(math.exp(both[i] @ both[j] / temperature) / sum(others)))
    return [(losses[i] + losses[i + count]) / 2 for i in range(count)]


@pytest.mark.parametrize("temperature", [TEMPERATURE, 1.0])
def test_the_contrastive_loss_is_that_of_the_paper(temperature: float) -> None:
    one, two = views()
    expected = plain_nt_xent(one.detach().double().numpy(), two.double().numpy(), temperature)
    assert nt_xent(one, two, temperature).tolist() == pytest.approx(expected, abs=TOLERANCE)


def test_the_contrastive_loss_and_its_gradient_are_those_of_lightly() -> None:
    lightly = pytest.importorskip(
        "lightly.loss", reason="lightly, the reference of the loss, is not installed"
    )
    one, two = views()
    theirs, ours = lightly.NTXentLoss(temperature=TEMPERATURE)(one, two), nt_xent(one, two).mean()
    assert ours.item() == pytest.approx(theirs.item(), abs=TOLERANCE)
    (expected,), (found,) = torch.autograd.grad(theirs, one), torch.autograd.grad(ours, one)
    assert torch.allclose(found, expected, atol=TOLERANCE)


def losses_of(trainer: PretrainTrainer, rows: NDArray[np.int64], outputs: torch.Tensor) -> torch.Tensor:
    targets = trainer.heads.targets(rows, trainer.sampler.pool_numbers(rows))
    return trainer.objective.losses(outputs, targets, trainer.heads)


def test_mixed_is_the_sum_and_images_without_labels_have_no_class() -> None:
    trainers = {name: PretrainTrainer(job(settings_of(name))) for name in ("supervised", "simclr", "mixed")}
    mixed = trainers["mixed"]
    first, without = 0, int(mixed.heads.starts[3])
    rows = np.array([first, first + 1, without, without + 1])
    outputs = torch.randn(8, 9 + 128, generator=torch.Generator().manual_seed(0), requires_grad=True)
    ours = losses_of(mixed, rows, outputs)
    contrast = losses_of(trainers["simclr"], rows, outputs[:, 9:])
    labels = [losses_of(mixed, rows[:2], torch.cat([part[:2]] * 2)) for part in outputs.chunk(2)]
    twice = [nt_xent(part[:2, 9:], part[:2, 9:]) for part in outputs.chunk(2)]
    supervised = torch.stack([one - two for one, two in zip(labels, twice, strict=True)]).mean(dim=0)
    assert torch.allclose(ours[2:], contrast[2:]) and torch.allclose(ours[:2], supervised + contrast[:2])
    (gradient,) = torch.autograd.grad(ours.sum(), outputs)
    assert (gradient.view(2, 4, -1)[:, 2:, :9] == 0).all() and (gradient[:, 9:] != 0).all()
    assert torch.isfinite(ours).all()


def test_a_network_has_what_its_objective_needs() -> None:
    for name, parts in (
        ("supervised", {"head"}),
        ("simclr", {"embedding"}),
        ("mixed", {"head", "embedding"}),
    ):
        names = {key.split(".")[0] for key in PretrainTrainer(job(settings_of(name))).network.state_dict()}
        assert names - {"backbone", "projection"} == parts


def test_views_are_drawn_apart_and_the_first_is_that_of_one_view() -> None:
    sampler = PretrainTrainer(job()).sampler
    whose = np.array([0, 1, 2, 0])
    one, two = (sampler.augmentation_draws(3, whose, view) for view in range(2))
    # of numpy's generator seeded by (seed, purpose, step): any other numbers would change all pretrainings
    expected = np.random.default_rng([0, 3, 3]).random((4, 8), dtype=np.float32)
    expected[:, 1] = 0  # none of these sources may be turned
    assert np.array_equal(one, expected)
    assert (one[:, [0, 2, 3, 4]] != two[:, [0, 2, 3, 4]]).all()


def test_without_labels_the_curve_has_the_loss_on_held_out_images() -> None:
    result = run_training(job(settings_of("simclr", steps=6)), PretrainCallbacks(evaluate_every=3))
    last = result.curve[-1]
    assert last.val_loss is not None and last.val_loss > 0 and last.val_score is None
    assert {source.name: source.score for source in result.sources} == dict.fromkeys(last.losses)
    assert last.losses["unlabeled"] is not None


@pytest.fixture
def start(tmp_path: Path) -> InitCard:
    """Weights that a pretraining starts from."""
    torch.manual_seed(8)
    save_file(Tiny().state_dict(), tmp_path / "start.safetensors")
    return InitCard(name="imagenet", label="start", identity="start", file=tmp_path / "start.safetensors")


def continued(start: InitCard, **changes: object) -> PretrainConfig:
    return job(msgspec.structs.replace(SETTINGS, ema=0.0, **changes), start=start)


def test_the_anchor_adds_the_gradient_of_its_penalty(start: InitCard) -> None:
    trainer = PretrainTrainer(continued(start, anchor=0.3))
    weights = list(trainer.network.backbone.parameters())
    before = [weight.detach().clone() for weight in weights]
    for weight in weights:
        weight.data += torch.randn_like(weight)
    penalty = 0.3 / 2 * sum(((w - b) ** 2).sum() for w, b in zip(weights, before, strict=True))
    expected = torch.autograd.grad(penalty, weights)  # type: ignore[arg-type]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    assert trainer.anchor
    trainer.anchor.add_gradients()
    found = [weight.grad - 1 for weight in weights if weight.grad is not None]
    assert all(torch.allclose(one, two, atol=1e-6) for one, two in zip(found, expected, strict=True))
    norms = [math.sqrt(sum(float((x**2).sum()) for x in part)) for part in (expected, before)]
    assert trainer.anchor.relative_distance(trainer.network.backbone) == pytest.approx(
        norms[0] / 0.3 / norms[1]
    )


def test_anchor_and_layer_decay_keep_weights_near_the_start(start: InitCard) -> None:
    plain, anchored, decayed = (
        run_training(continued(start, steps=20, **changes), PretrainCallbacks())
        for changes in ({}, {"anchor": 10.0}, {"layer_decay": 0.1})
    )
    moved = [result.distance_from_start for result in (plain, anchored, decayed)]
    assert moved[0] and moved[1] and moved[2]
    assert moved[1] < 0.8 * moved[0] and moved[2] < 0.5 * moved[0]
    original = Tiny().state_dict().keys()
    assert plain.state.keys() == original
    assert (
        run_training(job(msgspec.structs.replace(SETTINGS, steps=2)), PretrainCallbacks()).distance_from_start
        is None
    )


@pytest.mark.parametrize("objective", ["supervised", "mixed"])
@pytest.mark.slow
def test_frozen_batch_norm_normalizes_by_the_initial_statistics_and_learns_its_weights(
    start: InitCard, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert start.file
    first = load_file(start.file)
    config = continued(start, steps=20, objective=objective, freeze_norm=True)
    folded = run_training(config, PretrainCallbacks()).state
    monkeypatch.setattr("mednet_bench.benchmark.pretraining.train_loop.fold_statistics", lambda *_: None)
    trained = run_training(config, PretrainCallbacks()).state
    moved = run_training(continued(start, steps=20, objective=objective), PretrainCallbacks()).state
    statistics = [name for name in first if "running" in name]
    assert statistics
    assert all(torch.equal(trained[name], first[name]) for name in statistics)
    assert not any(torch.equal(moved[name], first[name]) for name in statistics)
    assert not any(torch.equal(trained[name], first[name]) for name in first if name.endswith("weight"))
    one, two = Tiny().eval(), Tiny().eval()
    one.load_state_dict(trained)
    two.load_state_dict(folded)
    images = torch.rand(8, 3, 12, 12)
    assert torch.allclose(one(images), two(images), atol=1e-5)
    assert not any(torch.equal(folded[name], first[name]) for name in statistics)


def test_folded_statistics_are_those_of_the_images_and_keep_the_outputs_in_both_modes() -> None:
    torch.manual_seed(3)
    first, plain, last = nn.BatchNorm2d(5), nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4)
    network = nn.Sequential(nn.Conv2d(3, 5, 3), first, nn.ReLU(), nn.Conv2d(5, 4, 3), plain, last).eval()
    for norm in (first, last):
        nn.init.uniform_(norm.weight, 0.5, 2)
        norm.running_mean = torch.randn(norm.num_features)
    images = torch.rand(60, 3, 9, 9) * 3 + 1
    with torch.no_grad():
        expected, values = network(images), network[0](images)
        apart = copy.deepcopy(network).train()(images)
        fold_statistics(network, images.split(17))
        assert torch.allclose(network(images), expected, atol=1e-4)
        found = dict(network.named_buffers())
        assert torch.allclose(found["1.running_mean"], values.mean(dim=(0, 2, 3)), atol=1e-5)
        assert torch.allclose(found["1.running_var"], values.var(dim=(0, 2, 3), unbiased=False), rtol=1e-4)
        assert torch.equal(found["4.running_mean"], torch.zeros(4))
        network.train()
        plain.eval()
        assert torch.allclose(network(images), expected, atol=1e-3)
        assert not torch.allclose(apart, expected, atol=0.1)


def test_the_rate_of_a_layer_falls_towards_the_input(start: InitCard) -> None:
    trainer = PretrainTrainer(continued(start, layer_decay=0.5))
    trainer.step(0, trainer.config.images.batches(trainer.stream(0)))
    rate = {id(weight): group["lr"] for group in trainer.optimizer.param_groups for weight in group["params"]}
    named = dict(trainer.network.named_parameters())
    rates = [
        rate[id(named[name])] / trainer.rate(0)
        for name in ("head.weight", "backbone.6.weight", "backbone.0.weight")
    ]
    assert rates == pytest.approx([1, 0.5, 0.25])


@pytest.mark.parametrize("freeze_norm", [False, True])
def test_a_continued_pretraining_resumes_to_the_same_bits(
    start: InitCard, tmp_path: Path, freeze_norm: bool
) -> None:
    kept = {"anchor": 0.1, "layer_decay": 0.7, "freeze_norm": freeze_norm}
    config = continued(start, steps=30, objective="mixed", augmentation="strong", **kept)
    asked = iter([False] * 12 + [True] * 99)
    with pytest.raises(StoppedAtError):
        run_training(config, PretrainCallbacks(tmp_path, should_stop=lambda: next(asked)))
    resumed, whole = (
        run_training(config, PretrainCallbacks(tmp_path)),
        run_training(config, PretrainCallbacks()),
    )
    assert all(torch.equal(value, resumed.state[name]) for name, value in whole.state.items())
    assert resumed.distance_from_start == whole.distance_from_start
