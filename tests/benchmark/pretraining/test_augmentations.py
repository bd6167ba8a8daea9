"""Strong augmentation: gray images have no hue, and no image is turned that may not be."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from small_training import SETTINGS
from test_engine import pool_of

from mednet_bench.benchmark.pretraining.augmentations import StrongAugmentRule, make_augmentation
from mednet_bench.benchmark.pretraining.batch_sampler import BatchSampler

NEUTRAL = {"least_area": 1.0, "aspect": 1.0, "degrees": 0.0, "jitter": 0.0, "gamma": 1.0, "hue": 0.0}
"""Changes nothing where nothing is turned or mirrored."""


def draws(count: int, upright: bool = True) -> torch.Tensor:
    numbers = torch.rand(count, StrongAugmentRule.uniforms, generator=torch.Generator().manual_seed(0))
    if upright:
        numbers[:, 1], numbers[:, 5] = 0, 1
    return numbers


def rule(color: bool = False, **changes: float) -> StrongAugmentRule:
    return StrongAugmentRule(color=color, **{**NEUTRAL, **changes})


def noise(channels: int, count: int = 40) -> torch.Tensor:
    return torch.rand(count, channels, 16, 16, generator=torch.Generator().manual_seed(1)) * 255


@pytest.mark.parametrize("channels", [1, 3])
def test_without_any_strength_images_stay(channels: int) -> None:
    images = noise(channels)
    assert torch.allclose(rule(channels == 3)(images, draws(40)), images, atol=0.02)


def test_each_change_is_the_one_it_is_called() -> None:
    images = noise(1)
    gamma = rule(gamma=1.6)(images, draws(40)) / 255
    powers = gamma.log() / (images / 255).log()  # one exponent for all levels of an image
    assert torch.allclose(powers.amin(dim=(1, 2, 3)), powers.amax(dim=(1, 2, 3)), atol=0.05)
    assert 1 / 1.6 < powers.mean(dim=(1, 2, 3)).min() < 0.8 and 1.3 < powers.mean(dim=(1, 2, 3)).max() < 1.6
    ramp = torch.linspace(0, 255, 16).expand(40, 1, 16, 16)
    span = rule(least_area=0.25)(ramp, draws(40))
    widths = (span[:, 0, 0, -1] - span[:, 0, 0, 0]) / 255
    assert 0.4 < widths.min() < 0.6 and 0.9 < widths.max() <= 1.01  # sides of crops of 25 to 100 %
    left = span[:, 0, 0, 0]
    assert left.min() >= 0 and left.max() > 60 and span.max() <= 255
    assert torch.allclose(span[:, :, :1].expand_as(span), span, atol=1e-3)  # crops do not turn


def test_hue_and_saturation_keep_luma_and_gray() -> None:
    flat = (60 + 100 * torch.rand(40, 3, 1, 1, generator=torch.Generator().manual_seed(2))).expand(
        40, 3, 8, 8
    )
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    changed = rule(color=True, hue=0.05)(flat, draws(40))
    assert torch.allclose((changed * luma).sum(dim=1), (flat * luma).sum(dim=1), atol=0.5)
    assert (changed - flat).abs().amax(dim=(1, 2, 3)).median() > 3
    gray = flat[:, :1].expand(40, 3, 8, 8)
    assert torch.allclose(rule(color=True, hue=0.05)(gray, draws(40)), gray, atol=0.5)


def test_the_color_of_the_mednet_decides() -> None:
    strong = {
        variant: make_augmentation(msgspec.structs.replace(SETTINGS, augmentation="strong", variant=variant))
        for variant in ("gray", "color")
    }
    assert "no hue" in strong["gray"].describe() and "hue 0.05" in strong["color"].describe()
    images = noise(1)
    assert strong["gray"](images, draws(40)).shape == images.shape
    assert "zoom 0.1" in make_augmentation(SETTINGS).describe()


def test_upright_images_stay_upright() -> None:
    free = pool_of(20)
    sampler = BatchSampler([replace(free, flips=(False, False)), free], 8, 0, 2.0, StrongAugmentRule.uniforms)
    numbers = torch.from_numpy(sampler.augmentation_draws(0, np.repeat([0, 1], 200)))
    ramp = torch.linspace(0, 255, 16).expand(400, 1, 16, 16)  # brighter to the right
    span = StrongAugmentRule(color=False, degrees=0)(ramp, numbers)
    right = (span[:, 0, :, -1] - span[:, 0, :, 0]).mean(dim=1)
    assert (right[:200] > 10).all()
    assert (right[200:] < -10).float().mean() == pytest.approx(0.25, abs=0.1)
    assert (right[200:].abs() < 1).float().mean() == pytest.approx(0.5, abs=0.1)
