"""Preparation of images by the input contract, against NumPy and Pillow.

A wrong contract does not crash: it only makes a pretrained network look worse than it is.
"""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mednet_bench.baselines.init import InputSpec
from mednet_bench.baselines.weights.prepare import InputPreparation
from mednet_bench.benchmark.training.device_data import as_stored, as_targets, epoch_order
from mednet_bench.tasks.images.bit_depth import to_uint8
from mednet_bench.tasks.task import Split

IMAGENET = InputSpec(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
CAFFE = InputSpec(mean=(103.9, 116.8, 123.7), std=(1.0, 1.0, 1.0), channels="bgr", value_range=255)
CONTRACTS = {"one half": InputSpec(), "imagenet": IMAGENET, "caffe": CAFFE}


def pictures(channels: int, side: int = 12, n: int = 3) -> torch.Tensor:
    rng = np.random.default_rng(channels)
    return torch.from_numpy(rng.integers(0, 256, (n, channels, side, side), dtype=np.uint8))


def by_hand(images: torch.Tensor, contract: InputSpec) -> NDArray[np.float64]:
    """What the card says, word by word: order, repetition, range, mean, std."""
    x = images.numpy().astype(np.float64)
    if contract.channels == "bgr" and x.shape[1] == 3:
        x = x[:, ::-1]
    if x.shape[1] == 1:
        x = np.repeat(x, 3, axis=1)
    x = x / 255 * contract.value_range
    mean, std = (np.array(v).reshape(1, 3, 1, 1) for v in (contract.mean, contract.std))
    return (x - mean) / std


@pytest.mark.parametrize("channels", [1, 3], ids=["gray", "color"])
@pytest.mark.parametrize("name", CONTRACTS)
def test_the_contract_is_kept_to_the_letter(name: str, channels: int) -> None:
    contract, images = CONTRACTS[name], pictures(channels)
    ours = InputPreparation(contract, 12)(images)
    assert ours.shape == (3, 3, 12, 12) and ours.dtype == torch.float32
    np.testing.assert_allclose(ours.numpy(), by_hand(images, contract), rtol=1e-5, atol=2e-5)
    assert ours.is_contiguous(memory_format=torch.channels_last)


def test_white_and_black_become_what_the_weights_know_as_white_and_black() -> None:
    white = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    assert torch.allclose(InputPreparation(InputSpec(), 4)(white), torch.tensor(1.0))
    assert torch.allclose(InputPreparation(InputSpec(), 4)(torch.zeros_like(white)), torch.tensor(-1.0))
    seen = InputPreparation(IMAGENET, 4)(white)[0, :, 0, 0]
    assert seen.tolist() == pytest.approx([2.2489, 2.4286, 2.6400], abs=1e-4)  # torchvision's tables
    seen = InputPreparation(CAFFE, 4)(white)[0, :, 0, 0]
    assert seen.tolist() == pytest.approx([151.1, 138.2, 131.3], abs=1e-3)


def test_a_gray_image_is_three_equal_channels_before_mean_and_std() -> None:
    seen = InputPreparation(InputSpec(), 12)(pictures(1))
    assert torch.equal(seen[:, 0], seen[:, 1]) and torch.equal(seen[:, 1], seen[:, 2])


def test_bgr_swaps_the_ends_and_leaves_gray_alone() -> None:
    swapped = InputSpec(channels="bgr")
    color, gray = pictures(3), pictures(1)
    assert torch.equal(InputPreparation(swapped, 12)(color), InputPreparation(InputSpec(), 12)(color).flip(1))
    assert torch.equal(InputPreparation(swapped, 12)(gray), InputPreparation(InputSpec(), 12)(gray))


@pytest.mark.parametrize("side", [5, 7, 11, 28])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resizing_is_that_of_pillow_which_trained_these_weights(mode: str, side: int) -> None:
    images = pictures(3) // 2 + 60  # away from the ends, where Pillow cuts between its two passes
    ours = InputPreparation(InputSpec(interpolation=mode), side).resize(images)  # type: ignore[arg-type]
    assert ours.shape == (3, 3, side, side)
    if mode == "bicubic" and side > 12:
        # Enlarging, torch's bicubic kernel is a little sharper than Pillow's (a = -.75 instead of -.5).
        theirs = F.interpolate(images.float(), (side, side), mode="bicubic").clamp(0, 255)
        assert torch.equal(ours, theirs)
        return
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    for image, seen in zip(images, ours, strict=True):
        pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((side, side), filters[mode])
        theirs = torch.from_numpy(np.asarray(pillow).copy()).permute(2, 0, 1)
        assert (seen - theirs).abs().max() < 1.6  # Pillow rounds to bytes, twice


def test_overshoots_of_bicubic_stay_within_the_bytes() -> None:
    edge = torch.zeros(1, 1, 12, 12, dtype=torch.uint8)
    edge[..., 6:] = 255
    seen = InputPreparation(InputSpec(interpolation="bicubic"), 28).resize(edge)
    assert seen.min() == 0 and seen.max() == 255


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    # A fine checkerboard is gray from afar; without antialiasing it would be black or white.
    board = ((torch.arange(32)[:, None] + torch.arange(32)) % 2 * 255).to(torch.uint8)[None, None]
    seen = InputPreparation(InputSpec(), 8).resize(board)
    assert (seen[..., 1:-1, 1:-1] - 127.5).abs().max() < 20


def test_nearest_repeats_pixels() -> None:
    seen = InputPreparation(InputSpec(interpolation="nearest"), 24).resize(pictures(1))
    assert torch.equal(seen, F.interpolate(pictures(1).float(), scale_factor=2, mode="nearest"))


def test_images_of_the_right_side_are_not_touched() -> None:
    prepare = InputPreparation(InputSpec(interpolation="bicubic"), 12)
    assert torch.equal(prepare.resize(pictures(3)), pictures(3).float())


def test_arrays_become_tensors_without_a_change_or_a_warning() -> None:
    gray = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
    color = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    for images in (gray, color):
        images.flags.writeable = False  # as the phantoms' are: torch warns of undefined behavior there
    labels = np.array([1, 0])
    labels.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_gray, as_color = (as_stored(Split(images, labels), "cpu") for images in (gray, color))
        targets = as_targets(labels, "cpu")
    assert as_gray.shape == (2, 1, 4, 4) and np.array_equal(as_gray[:, 0].numpy(), gray)
    assert as_color.shape == (2, 3, 4, 4)
    assert np.array_equal(as_color.permute(0, 2, 3, 1).numpy(), color)
    assert targets.dtype == torch.int64 and targets.tolist() == [1, 0]


def test_sixteen_bits_reach_the_network_as_eight_do_but_for_what_eight_round_away() -> None:
    deep = np.array([[[0, 257], [128 * 257 + 100, 65535]]], np.uint16)
    labels = np.array([0])
    prepare = InputPreparation(InputSpec(), 2)
    seen = prepare.resize(as_stored(Split(deep, labels), "cpu"))
    torch.testing.assert_close(seen, torch.tensor([[[[0.0, 1.0], [128 + 100 / 257, 255.0]]]]))
    rounded = prepare.resize(as_stored(Split(to_uint8(deep), labels), "cpu"))
    assert torch.equal(rounded, seen.round())


def test_findings_become_floats_because_their_loss_wants_them() -> None:
    targets = as_targets(np.array([[0, 1], [1, 1]]), "cpu")
    assert targets.dtype == torch.float32 and targets.tolist() == [[0, 1], [1, 1]]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 50), st.integers(1, 12), st.integers(1, 20), st.integers(0, 9))
def test_every_image_is_shown_once_before_any_is_shown_twice(
    count: int, batches: int, batch: int, seed: int
) -> None:
    order = epoch_order(count, batches, batch, np.random.default_rng(seed))
    assert order.shape == (batches, batch)
    shown = order.ravel()
    for start in range(0, len(shown), count):
        one_pass = shown[start : start + count]
        assert len(set(one_pass)) == len(one_pass)
        assert set(one_pass) <= set(range(count))


def test_passes_come_in_different_orders() -> None:
    order = epoch_order(40, 2, 40, np.random.default_rng(0))
    assert not np.array_equal(order[0], order[1])
