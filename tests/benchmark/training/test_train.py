"""The training loop: repeatable to the bit, with divergence reported and memory irrelevant.

If it depended on anything but seed and data, or kept the last epoch instead of the best, a comparison of two
inits would be one of accidents.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from waits import watched

from mednet_bench.benchmark.training.loop import (
    BatchSource,
    DivergedError,
    OptimizerConfig,
    ValidationResult,
    autocast_precision,
    fit,
    fixed_shapes,
    full_float32,
    retry_in_parts,
)
from mednet_bench.benchmark.training.metrics import Predictions, primary_value
from mednet_bench.benchmark.training.model import loss_of, to_probabilities
from mednet_bench.benchmark.training.subsets import one_hot

HYPER = OptimizerConfig(lr=1e-2, weight_decay=0.01, every=5, patience=100)
STEPS, BATCH = 20, 16


def network(seed: int = 0, norm: bool = True) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        middle = nn.BatchNorm2d(8) if norm else nn.Identity()
        stem, pool = [nn.Conv2d(1, 8, 3), middle, nn.ReLU()], [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*stem, *pool, nn.Linear(8, 2))


def data(n: int = 200, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Class 1 has vertical stripes, class 0 has none: easy, but not from the mean of an image."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    images = rng.normal(0, 1, (n, 1, 8, 8)) + 1.5 * labels[:, None, None, None] * (-1) ** np.arange(8)
    return torch.from_numpy(images.astype(np.float32)), torch.from_numpy(labels)


def feed_of(
    images: Tensor, labels: Tensor, steps: int = STEPS, seed: int = 0, batch: int = BATCH
) -> BatchSource:
    rows = torch.from_numpy(np.random.default_rng(seed).integers(0, len(images), (steps, batch)))
    return BatchSource(
        lambda step: (images[rows[step]], labels[rows[step]]), loss_of("binary"), steps, batch_size=batch
    )


def validator(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], ValidationResult]:
    def validate() -> ValidationResult:
        with torch.inference_mode():
            logits = model(images)
        preds = Predictions("binary", one_hot(labels.numpy(), 2), to_probabilities(logits, "binary"))
        return ValidationResult(float(loss_of("binary")(logits, labels)), primary_value(preds))

    return validate


def trained(seed: int = 0, order: int = 0, **changes: object) -> tuple[nn.Module, list[tuple[object, ...]]]:
    model, (images, labels) = network(seed), data()
    hyper = OptimizerConfig(**{**HYPER.__dict__, **changes})  # type: ignore[arg-type]
    fitted = fit(model, feed_of(images, labels, seed=order), hyper, validator(model, images, labels))
    return model, [(p.step, p.train_loss, p.val_loss, p.val_score) for p in fitted.curve]


def equal(one: nn.Module, two: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_same_seed_gives_the_same_network_to_the_last_bit() -> None:
    (one, curve), (two, again) = trained(), trained()
    assert equal(one, two) and curve == again
    other, changed = trained(order=1)
    assert not equal(one, other) and curve != changed


def test_what_can_be_learnt_is_learnt() -> None:
    model, (images, labels) = network(), data(600)
    train, val = slice(0, 300), slice(300, 600)
    feed = feed_of(images[train], labels[train], steps=60)
    fitted = fit(model, feed, HYPER, validator(model, images[val], labels[val]))
    assert fitted.best.score is not None and fitted.best.score > 0.95
    assert not model.training


def test_the_curve_says_step_and_mean_loss_of_every_stretch() -> None:
    model, (images, labels) = network(), data()
    losses: list[float] = []
    feed = feed_of(images, labels, steps=12)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        value = loss_of("binary")(outputs, targets)
        losses.append(float(value.detach()))
        return value

    fitted = fit(model, BatchSource(feed.batch, loss, 12), HYPER, validator(model, images, labels))
    assert [point.step for point in fitted.curve] == [5, 10, 12]  # and the last one, even if it is short
    means = [np.mean(losses[a:b]) for a, b in ((0, 5), (5, 10), (10, 12))]
    assert [point.train_loss for point in fitted.curve] == pytest.approx(means, rel=1e-5)


def scripted(scores: list[tuple[float, float | None]], model: nn.Module, seen: list[dict]) -> Callable:
    """A validation that says what the script says and keeps the weights that it was shown."""
    script: Iterator[tuple[float, float | None]] = iter(scores)

    def validate() -> ValidationResult:
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        assert not model.training
        return ValidationResult(*next(script))

    return validate


@pytest.mark.parametrize(
    ("scores", "best", "validations"),
    [
        ([(0.5, 0.6), (0.4, 0.9), (0.3, 0.7), (0.2, 0.8)], 1, 4),
        ([(0.5, 0.6), (0.4, 0.6), (0.3, 0.6), (0.6, 0.6)], 2, 4),  # equal scores: the smaller loss
        ([(0.5, None), (0.4, None), (0.6, None), (0.7, None)], 1, 4),  # no score: the smaller loss
        ([(float("inf"), None), (0.4, None), (0.6, None), (0.7, None)], 1, 4),
    ],
)
def test_the_weights_of_the_best_validation_are_kept(
    scores: list[tuple[float, float | None]], best: int, validations: int
) -> None:
    model, seen = network(), []
    fitted = fit(model, feed_of(*data()), HYPER, scripted(scores, model, seen))
    assert len(fitted.curve) == validations
    assert fitted.best == ValidationResult(*scores[best])
    assert all(torch.equal(model.state_dict()[name], value) for name, value in seen[best].items())
    assert not all(torch.equal(seen[-1][name], value) for name, value in seen[best].items())


def test_where_the_loss_chooses_the_score_is_ignored() -> None:
    low, high = ValidationResult(0.4, 0.6, by_loss=True), ValidationResult(0.5, 0.9, by_loss=True)
    assert low.beats(high) and not high.beats(low)
    low, high = replace(low, by_loss=False), replace(high, by_loss=False)
    assert high.beats(low) and not low.beats(high)


def test_training_stops_when_patience_is_at_an_end() -> None:
    model, seen = network(), []
    scores = [(1.0, 0.5), (1.0, 0.7), (1.0, 0.6), (1.0, 0.7), (1.0, 0.9)]
    hyper = OptimizerConfig(lr=1e-2, weight_decay=0, every=2, patience=2)
    fitted = fit(model, feed_of(*data()), hyper, scripted(scores, model, seen))
    assert [point.step for point in fitted.curve] == [2, 4, 6, 8]  # .6 and .7 are no better than .7
    assert fitted.best.score == 0.7
    assert all(torch.equal(model.state_dict()[name], value) for name, value in seen[1].items())


def test_patience_counts_after_the_warm_up_only() -> None:
    model, seen = network(), []
    scores = [(1.0, 0.9), (1.0, 0.5), (1.0, 0.5), (1.0, 0.5), (1.0, 0.5), (1.0, 0.5)]
    hyper = OptimizerConfig(lr=1e-2, weight_decay=0, every=2, patience=2, warmup=0.4)  # of 20 steps: 8
    fitted = fit(model, feed_of(*data()), hyper, scripted(scores, model, seen))
    assert [point.step for point in fitted.curve] == [2, 4, 6, 8, 10, 12]


def test_the_rate_rises_then_falls_to_nothing() -> None:
    model, (images, labels) = network(), data()
    rates: list[float] = []
    before = torch.optim.AdamW.step

    def spy(self: torch.optim.AdamW, *args: object) -> object:
        rates.append(self.param_groups[0]["lr"])
        return before(self, *args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", spy)
        fit(model, feed_of(images, labels, steps=40), HYPER, validator(model, images, labels))
    assert len(rates) == 40
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])  # a tenth of 40 steps
    assert max(rates) == 0.01 and rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[22] == pytest.approx(0.005, rel=0.02) and 0 < rates[-1] < 1e-4


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_an_error_with_step_and_rate(bad: float) -> None:
    model, (images, labels) = network(), data()
    calls = iter(range(1000))

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return loss_of("binary")(outputs, targets) * (bad if next(calls) >= 7 else 1)

    feed = BatchSource(feed_of(images, labels).batch, loss, STEPS)
    with pytest.raises(DivergedError, match=r"at step 7 with learning rate 0\.01"):
        fit(model, feed, HYPER, validator(model, images, labels))


def test_a_rate_beyond_reason_diverges_by_itself() -> None:
    model, (images, labels) = network(norm=False), data()
    hyper = OptimizerConfig(lr=1e30, weight_decay=0, every=5, patience=5)
    with pytest.raises(DivergedError, match=r"learning rate 1e\+30"):
        fit(model, feed_of(images, labels), hyper, validator(model, images, labels))


def test_a_network_whose_validations_all_overflow_has_diverged() -> None:
    # Its training loss may be finite, by batch statistics; kept, it would be chosen where all else failed.
    model = network()
    for bad in (float("inf"), float("nan")):
        script = scripted([(bad, None)] * 4, model, [])
        with pytest.raises(DivergedError, match=r"no validation loss .* learning rate 0\.01"):
            fit(model, feed_of(*data()), HYPER, script)


class Small(nn.Module):
    """A device with memory for `room` images, which fails beyond as CUDA does."""

    def __init__(self, inner: nn.Module, room: int) -> None:
        super().__init__()
        self.inner, self.room, self.sizes = inner, room, []

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.sizes.append(len(x))
            if len(x) > self.room:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return self.inner(x)


def gradients(model: nn.Module, feed: BatchSource) -> list[list[Tensor]]:
    """The gradients of every step, as the optimizer saw them."""
    seen: list[list[Tensor]] = []
    before = torch.optim.AdamW.step

    def spy(self: torch.optim.AdamW, *args: object) -> object:
        seen.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        return before(self, *args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", spy)
        fit(model, feed, HYPER, lambda: ValidationResult(1.0, 0.5))
    return seen


@pytest.mark.parametrize("batch", [16, 15])
@pytest.mark.parametrize("room", [15, 5, 3])
def test_short_memory_changes_the_parts_and_not_the_gradient(room: int, batch: int) -> None:
    images, labels = data()
    feed = feed_of(images, labels, steps=3, batch=batch)
    whole = gradients(network(norm=False), feed)
    sizes: list[int] = []

    def begin(parts: int) -> list[list[Tensor]]:
        small = Small(network(norm=False), room)
        sizes.clear()
        small.sizes = sizes
        return gradients(small, replace(feed, parts=parts))

    parts, _ = retry_in_parts(begin)
    assert len(whole) == len(parts) == 3
    for one, two in zip(whole, parts, strict=True):
        for a, b in zip(one, two, strict=True):
            assert torch.allclose(a, b, atol=1e-6)
    assert max(sizes) <= room and sum(sizes) == 3 * batch  # every image counted, none twice


def test_a_network_too_large_for_two_images_fails_with_the_devices_own_words() -> None:
    images, labels = data()
    feed, worst = feed_of(images, labels), ValidationResult(1.0, 0.5)
    with pytest.raises(torch.OutOfMemoryError):
        retry_in_parts(lambda n: fit(Small(network(), 0), replace(feed, parts=n), HYPER, lambda: worst))


def test_the_host_waits_once_per_validation_and_never_between() -> None:
    # On a GPU every wait leaves it idle; on a CPU the same calls are only counted.
    model, (images, labels) = network(), data()
    feed = feed_of(images, labels, steps=20)
    with watched() as (waits, pausing):
        fit(model, feed, HYPER, pausing(validator(model, images, labels)))
    between = list(waits.seen)
    # 4 validations: each reads the stretch's losses once (is every one finite? what is their mean?)
    assert len(between) <= 4 * 2, between


def test_the_watch_sees_a_wait() -> None:
    model, (images, labels) = network(), data()
    feed = feed_of(images, labels, steps=20)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        value = loss_of("binary")(outputs, targets)
        value.item()  # the classic: printing the loss of every step
        return value

    with watched() as (waits, pausing):
        fit(model, BatchSource(feed.batch, loss, 20), HYPER, pausing(validator(model, images, labels)))
    assert waits.seen.count("_local_scalar_dense") >= 20


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_half_precision_is_for_cuda_alone() -> None:
    with autocast_precision(torch.device("cpu")):
        assert not torch.is_autocast_enabled("cpu")
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    context = autocast_precision(torch.device("cuda"))
    assert isinstance(context, torch.autocast)
    assert (context.device, context.fast_dtype) == ("cuda", torch.bfloat16)


def modern() -> SimpleNamespace:
    """torch's switches from 2.9 on, as a user may have left them."""
    place = {name: SimpleNamespace(fp32_precision="tf32") for name in ("matmul", "conv", "rnn")}
    return SimpleNamespace(
        cuda=SimpleNamespace(matmul=place["matmul"]),
        cudnn=SimpleNamespace(conv=place["conv"], rnn=place["rnn"]),
    )


def older() -> SimpleNamespace:
    """torch's switches up to 2.8."""
    return SimpleNamespace(
        cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=False)), cudnn=SimpleNamespace(allow_tf32=True)
    )


@pytest.mark.parametrize("switches", [modern, older])
def test_float32_is_switched_on_by_whichever_switches_torch_has_and_put_back(
    switches: Callable[[], SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    backends = switches()
    monkeypatch.setattr(torch, "backends", backends)
    with pytest.raises(KeyboardInterrupt), full_float32():
        values = re.findall(r"(?:fp32_precision|allow_tf32)=([^)]+)", repr(backends))
        assert len(values) >= 2 and set(values) in ({"'ieee'"}, {"False"})
        raise KeyboardInterrupt
    assert backends == switches()


@pytest.mark.parametrize(("device", "tries"), [("cuda", True), ("cpu", False)])
def test_cudnn_tries_its_algorithms_where_shapes_recur_on_a_gpu(device: str, tries: bool) -> None:
    before = torch.backends.cudnn.benchmark
    with pytest.raises(KeyboardInterrupt), fixed_shapes(torch.device(device)):
        assert torch.backends.cudnn.benchmark == (tries or before)
        raise KeyboardInterrupt
    assert torch.backends.cudnn.benchmark == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_it_learns_in_bfloat16_and_channels_last_without_waiting() -> None:
    device = torch.device("cuda")
    model = network().to(device, memory_format=torch.channels_last)
    images, labels = (part.to(device) for part in data(600))
    images = images.contiguous(memory_format=torch.channels_last)
    rows = torch.from_numpy(np.random.default_rng(0).integers(0, 300, (60, BATCH))).to(device)
    seen: set[torch.dtype] = set()
    model[0].register_forward_hook(lambda module, args, out: seen.add(out.dtype))

    def batch(step: int) -> tuple[Tensor, Tensor]:
        return images[rows[step]], labels[rows[step]]

    def validate() -> ValidationResult:
        torch.cuda.set_sync_debug_mode("default")
        with torch.inference_mode(), autocast_precision(device):
            logits = model(images[300:]).float()
        truth = one_hot(labels[300:].cpu().numpy(), 2)
        score = primary_value(Predictions("binary", truth, to_probabilities(logits, "binary")))
        loss = float(loss_of("binary")(logits, labels[300:]))
        return ValidationResult(loss, score)

    def strict(step: int) -> tuple[Tensor, Tensor]:
        torch.cuda.set_sync_debug_mode("error" if step % HYPER.every else "default")
        return batch(step)

    try:
        fitted = fit(model, BatchSource(strict, loss_of("binary"), 60), HYPER, validate)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert fitted.best.score is not None and fitted.best.score > 0.95
    assert seen == {torch.bfloat16}
    assert all(value.dtype == torch.float32 for value in model.parameters())
