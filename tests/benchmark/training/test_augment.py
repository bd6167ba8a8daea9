"""Augmentation: plausible for the modality, equal draws for every init, never out of range.

An upside-down chest X-ray, or a mirrored "kidney-left", is a wrong label; jitter of a gray image changes
what its values mean.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mednet_bench.benchmark.training.augment import UNIFORMS_PER_IMAGE, AugmentRule, augment_for
from mednet_bench.tasks.task import TASKS

TASK_NAMES = sorted(name for name, _ in TASKS.items())


def still(n: int = 4) -> Tensor:
    """Draws that ask for nothing: the middle of every range, and no quarter turn."""
    draws = torch.full((n, UNIFORMS_PER_IMAGE), 0.5)
    draws[:, 1] = 0
    return draws


def random_draws(n: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((n, UNIFORMS_PER_IMAGE), dtype=np.float32))


def smooth(n: int = 4, channels: int = 1, side: int = 28) -> Tensor:
    """Soft blobs, each at a place of its own, that are not symmetric in any way."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    center = torch.linspace(-0.3, 0.4, n)[:, None, None]
    blobs = torch.exp(-8 * ((x - center) ** 2 + (y + 0.4) ** 2)) + 0.3 * torch.exp(-20 * (x - 0.6) ** 2)
    tints = torch.linspace(1, 0.6, channels)[:, None, None]
    return 190 * blobs[:, None] * tints


@pytest.mark.parametrize("name", TASK_NAMES)
def test_draws_that_ask_for_nothing_change_nothing(name: str) -> None:
    channels = 1 if TASKS[name].variant == "gray" else 3
    images = smooth(channels=channels)
    assert torch.allclose(augment_for(TASKS[name])(images, still()), images, atol=0.01)


@pytest.mark.parametrize("name", TASK_NAMES)
def test_range_shape_and_repeatability(name: str) -> None:
    channels = 1 if TASKS[name].variant == "gray" else 3
    images = torch.rand(64, channels, 28, 28) * 255
    images[:2], images[2:4] = 0, 255
    before, draws = images.clone(), random_draws(64)
    augment = augment_for(TASKS[name])
    out = augment(images, draws)
    assert out.shape == images.shape
    assert out.min() >= -1e-3 and out.max() <= 255 + 1e-3
    assert torch.equal(out, augment(images, draws))  # nothing but the draws decides
    assert torch.equal(images, before)  # and the data set on the device stays as it is
    assert not torch.equal(out, images)


@pytest.mark.parametrize("name", [name for name in TASK_NAMES if TASKS[name].variant == "gray"])
def test_gray_values_keep_their_meaning(name: str) -> None:
    flat = torch.arange(0, 256, 17).float()[:, None, None, None].expand(-1, 1, 28, 28)
    assert torch.allclose(augment_for(TASKS[name])(flat, random_draws(len(flat))), flat, atol=0.01)


def test_color_images_vary_in_brightness_and_contrast() -> None:
    flat = torch.full((200, 3, 8, 8), 100.0)
    out = augment_for(TASKS["bloodmnist"])(flat, random_draws(200))
    assert out.mean(dim=(1, 2, 3)).std() > 5
    assert out.mean() == pytest.approx(100, abs=3)  # brighter as often as darker


def orientation(augment: AugmentRule, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Where up and the left hand go, measured on pictures: +1 as before, -1 the other way round.

    A picture that grows brighter downwards must do so afterwards; likewise for left to right.
    """
    n, side = len(draws), 28
    ramp = torch.linspace(20, 230, side)
    down = ramp[:, None].expand(side, side).expand(n, 1, side, side)
    across = ramp.expand(n, 1, side, side)
    inner = slice(6, 22)
    down, across = (augment(image, draws)[:, 0, inner, inner] for image in (down, across))
    vertical, horizontal = down[:, -1] - down[:, 0], across[..., -1] - across[..., 0]
    return vertical.mean(dim=1).sign(), horizontal.mean(dim=1).sign()


WITH_A_TOP = ("x-ray", "ultrasound", "oct", "ct", "fundus")
UPRIGHT = [name for name in TASK_NAMES if TASKS[name].modality in WITH_A_TOP]


def test_the_sets_with_an_up_and_a_down_are_the_expected_ones() -> None:
    assert {"chestmnist", "pneumoniamnist", "breastmnist", "octmnist", "organamnist"} <= set(UPRIGHT)
    assert {"phantom-nodule", "phantom-organ", "phantom-findings"} <= set(UPRIGHT)


@pytest.mark.parametrize("name", UPRIGHT)
def test_a_radiograph_is_never_upside_down(name: str) -> None:
    vertical, _ = orientation(augment_for(TASKS[name]), random_draws(500))
    assert (vertical == 1).all()


ORGANS = ["organamnist", "organcmnist", "organsmnist"]


@pytest.mark.parametrize("name", ORGANS)
def test_where_left_and_right_are_labels_nothing_is_mirrored(name: str) -> None:
    _, horizontal = orientation(augment_for(TASKS[name]), random_draws(500))
    assert (horizontal == 1).all()


@pytest.mark.parametrize("name", [name for name in UPRIGHT if name not in ORGANS])
def test_elsewhere_half_of_the_images_are_mirrored(name: str) -> None:
    _, horizontal = orientation(augment_for(TASKS[name]), random_draws(500))
    assert 0.4 < (horizontal == -1).float().mean() < 0.6


@pytest.mark.parametrize("name", ["bloodmnist", "pathmnist", "dermamnist", "tissuemnist"])
def test_cells_and_tissue_are_turned_every_way(name: str) -> None:
    images = smooth(800, channels=1)
    augment = augment_for(TASKS[name])
    draws = random_draws(800)
    vertical, horizontal = orientation(augment, draws)
    for value in (1, -1):
        assert (vertical == value).float().mean() > 0.1
        assert (horizontal == value).float().mean() > 0.1
    assert augment(images, draws).shape == images.shape


def test_no_pixel_goes_further_than_it_may() -> None:
    # a bright point in the middle: rotation and zoom keep it there, the shift moves it 8 % of 33 pixels
    point = torch.zeros(400, 1, 33, 33)
    point[:, :, 15:18, 15:18] = 255
    out = AugmentRule(mirror=True, invert=True, color=False)(point, random_draws(400))[:, 0]
    place = torch.arange(33.0)
    total = out.sum(dim=(1, 2))
    y, x = (out.sum(dim=2) @ place) / total, (out.sum(dim=1) @ place) / total
    furthest = max((y - 16).abs().max(), (x - 16).abs().max())
    assert 2 < furthest < 0.08 * 33 * 1.1 * 2**0.5 + 0.5


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.booleans(), st.booleans())
def test_no_draw_leaves_the_range_or_makes_something_of_nothing(
    seed: int, mirror: bool, invert: bool
) -> None:
    augment = AugmentRule(mirror=mirror, invert=invert, color=True)
    images = torch.from_numpy(np.random.default_rng(seed).uniform(0, 255, (8, 3, 9, 9)).astype(np.float32))
    out = augment(images, random_draws(8, seed))
    assert torch.isfinite(out).all() and out.min() >= -1e-3 and out.max() <= 255 + 1e-3
    gray = AugmentRule(mirror=mirror, invert=invert, color=False)(images, random_draws(8, seed))
    assert gray.min() >= images.min() - 0.01 and gray.max() <= images.max() + 0.01
