"""Planted errors of an input contract are detected; the right contract has no warning."""

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
import toys
from torch import nn

from mednet_bench.baselines.init import InputSpec
from mednet_bench.baselines.sources.imagenet import resolve_imagenet
from mednet_bench.baselines.weights.archs import DEFAULT_ARCH, build_backbone
from mednet_bench.baselines.weights.fingerprint import check_fingerprint, fingerprint
from mednet_bench.baselines.weights.input_spec import check_input_spec
from mednet_bench.baselines.weights.load import load_backbone
from mednet_bench.baselines.weights.probe_images import probe_images
from mednet_bench.core.errors import UserError

SIDE = 64
RIGHT = InputSpec(interpolation="bicubic")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    card = resolve_imagenet(toys.need_of(toys.task_of(toys.Toy()), Path("/nonexistent"), arch=DEFAULT_ARCH))
    return load_backbone(card, DEFAULT_ARCH, SIDE, seed=0).module.eval()


def photos() -> np.ndarray:
    from sklearn.datasets import load_sample_images

    return np.ascontiguousarray(np.stack(load_sample_images().images)[:, :, 106:533].transpose(0, 3, 1, 2))


def medical() -> np.ndarray:
    """Real gray images of 28 px."""
    file = toys.real_data() / "medmnist" / "pneumoniamnist.npz"
    return np.load(file)["train_images"][:16, None]


IMAGES = {"generated": lambda: None, "photographs": photos, "gray medical": medical}
FAULTS: dict[str, tuple[dict[str, object], str]] = {
    "too small": (
        {"mean": (127.5,) * 3, "std": (127.5,) * 3},
        "too small.*mean .127.5.*value_range 255",
    ),
    "too large": ({"value_range": 255}, "times too large.*mean .0.5, 0.5, 0.5.*value_range 1"),
    "swapped": ({"channels": "bgr"}, "red and blue are probably swapped: try channels = 'rgb'"),
}


@pytest.mark.parametrize("images", IMAGES)
def test_the_right_contract_raises_nothing(images: str, network: nn.Module) -> None:
    found = check_input_spec(network, RIGHT, SIDE, IMAGES[images]())
    assert found.checked and found.warnings == ()
    assert 0.2 < found.contrast < 2  # far from 1/16 and 16
    assert found.explained > 0.999
    red, _, blue = found.means
    assert 0.03 < red - blue < 0.05


@pytest.mark.parametrize("images", IMAGES)
@pytest.mark.parametrize("fault", FAULTS)
def test_each_planted_error_is_caught_with_its_cure(fault: str, images: str, network: nn.Module) -> None:
    facts, warning_of = FAULTS[fault]
    wrong = msgspec.structs.replace(RIGHT, **facts)
    (warning,) = check_input_spec(network, wrong, SIDE, IMAGES[images]()).warnings
    assert re.search(warning_of, warning)


def test_images_that_are_255_times_too_dark_are_seen_too(network: nn.Module) -> None:
    (warning,) = check_input_spec(network, RIGHT, SIDE, probe_images(8, SIDE) // 100).warnings
    assert "too small" in warning


def test_a_network_without_batch_norm_says_that_it_cannot_be_checked() -> None:
    found = check_input_spec(build_backbone("test_vit", 160).eval(), RIGHT, 160)
    assert not found.checked and found.warnings == () and "cannot be checked" in found.summary


def test_a_fingerprint_holds_for_this_network_alone(network: nn.Module) -> None:
    stated = fingerprint(network, RIGHT, SIDE)
    assert len(stated) == 32 and stated == fingerprint(network, RIGHT, SIDE)
    check_fingerprint(network, RIGHT, SIDE, stated, "file")
    other = build_backbone("efficientnet_lite0", SIDE).eval()  # the same tensors, another padding
    other.load_state_dict(network.state_dict())
    swapped = msgspec.structs.replace(RIGHT, channels="bgr")
    for wrong, contract in ((other, RIGHT), (network, swapped)):
        with pytest.raises(UserError, match="computes something else than the card's fingerprint"):
            check_fingerprint(wrong, contract, SIDE, stated, "file")


def test_a_wrong_fingerprint_in_a_card_stops_the_load(tmp_path: Path) -> None:
    file = toys.write_weights(tmp_path / "weights.safetensors")
    right = fingerprint(load_backbone(toys.loaded_card(file), toys.ARCH, 32, 0).module, InputSpec(), 32)
    for stated, fits in ((right, True), (tuple(2 * number for number in right), False)):
        card = toys.loaded_card(file, fingerprint=stated, fingerprint_size=32)
        if fits:
            assert load_backbone(card, toys.ARCH, 16, 0)
        else:
            with pytest.raises(UserError, match="computes something else"):
                load_backbone(card, toys.ARCH, 16, 0)
