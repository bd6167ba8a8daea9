"""ImageNet weights through our whole path must still recognise a palace and a daisy.

This is the one proof that mean, std, value range, channel order, resizing and the order of 296 renamed
tensors are all right together; a mistake in any of them would only show as "ImageNet does not help".
"""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import toys
from safetensors.torch import save_file
from torch import Tensor

from mednet_bench.baselines.archs import DEFAULT_ARCH, build_backbone
from mednet_bench.baselines.imagenet import imagenet, packaged_file
from mednet_bench.baselines.init import Contract, InitCard
from mednet_bench.baselines.load import load_backbone
from mednet_bench.baselines.prepare import Prepare
from mednet_bench.baselines.strict import load_total, read_tensors, renamed_by_order
from mednet_bench.benchmark.errors import UserError
from mednet_bench.benchmark.files import sha256_file

PALACE, DAISY, ORANGE = 698, 985, 950  # of the 1,000 ImageNet classes


@pytest.fixture(scope="module")
def card() -> InitCard:
    return imagenet(toys.need_of(toys.task_of(toys.Toy()), Path("/nonexistent"), arch=DEFAULT_ARCH))


@pytest.fixture(scope="module")
def tensors(card: InitCard) -> dict[str, Tensor]:
    assert card.file is not None
    return read_tensors(card.file)


@pytest.fixture(scope="module")
def classifier(tensors: dict[str, Tensor]) -> torch.nn.Module:
    """The network with its 1,000 outputs, filled as `load_backbone` fills it without them."""
    model = build_backbone(DEFAULT_ARCH, 224, classes=1000)
    load_total(model, renamed_by_order(tensors, model.state_dict(), "test"), (), "test")
    return model.eval()


@pytest.fixture(scope="module")
def photos() -> Tensor:
    """A Chinese palace and a daisy-like flower, cut square: uint8 [2, 3, 427, 427]."""
    from sklearn.datasets import load_sample_images

    images = np.stack(load_sample_images().images)  # [2, 427, 640, 3]
    return torch.from_numpy(images[:, :, 106:533].copy()).permute(0, 3, 1, 2)


def sure_of(classifier: torch.nn.Module, contract: Contract, photos: Tensor) -> tuple[list[int], list[float]]:
    """The winning class of each photo, and the probabilities of palace and daisy."""
    with torch.inference_mode():
        scores = classifier(Prepare(contract, 224)(photos)).softmax(dim=1)
    return scores.argmax(dim=1).tolist(), [float(scores[0, PALACE]), float(scores[1, DAISY])]


def test_a_palace_and_a_daisy_are_recognised(
    classifier: torch.nn.Module, card: InitCard, photos: Tensor
) -> None:
    found, sure = sure_of(classifier, card.contract, photos)
    assert found == [PALACE, DAISY]
    assert min(sure) > 0.2  # of 1,000 classes


WRONG: dict[str, tuple[dict[str, object], int]] = {
    "255 times too dark, as RadImageNet's released scripts fed their networks": ({}, 255),
    "bytes without division": ({"value_range": 255}, 1),
    "another mean": ({"mean": (3.0, 3.0, 3.0)}, 1),
    "another spread": ({"std": (0.1, 0.1, 0.1)}, 1),
}


@pytest.mark.parametrize("fault", WRONG)
def test_every_breach_of_the_contract_makes_the_network_less_sure(
    fault: str, classifier: torch.nn.Module, card: InitCard, photos: Tensor
) -> None:
    facts, darker = WRONG[fault]
    _, right = sure_of(classifier, card.contract, photos)
    found, wrong = sure_of(classifier, replace_contract(card.contract, **facts), photos // darker)
    assert sum(wrong) < sum(right) and found != [PALACE, DAISY]


def ball(colour: tuple[int, int, int]) -> Tensor:
    """A shaded, slightly rough ball on a light ground: uint8 [1, 3, 224, 224]."""
    y, x = np.mgrid[-1:1:224j, -1:1:224j] / 0.7
    height = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
    shade = np.clip(0.35 + 0.65 * (0.7 * height - 0.45 * y - 0.45 * x), 0, 1.2)
    rough = 1 + 0.05 * np.random.default_rng(0).standard_normal(shade.shape)
    picture = np.where((x**2 + y**2 < 1)[..., None], (shade * rough)[..., None] * colour, 240)
    return torch.from_numpy(picture.clip(0, 255).astype(np.uint8)).permute(2, 0, 1)[None]


def test_red_comes_first(classifier: torch.nn.Module, card: InitCard) -> None:
    # A palace in false colours is still a palace; but an orange is one by its colour alone.
    orange, blue = ball((255, 140, 10)), ball((10, 140, 255))
    swapped = replace_contract(card.contract, channels="bgr")
    with torch.inference_mode():
        seen = [
            classifier(Prepare(contract, 224)(picture)).argmax().item()
            for contract, picture in ((card.contract, orange), (card.contract, blue), (swapped, orange))
        ]
    assert seen[0] == ORANGE
    assert seen[1] != ORANGE and seen[1] == seen[2]


def replace_contract(contract: Contract, **facts: object) -> Contract:
    return msgspec.structs.replace(contract, **facts)


def test_channel_order_and_range_reach_the_features(card: InitCard, photos: Tensor) -> None:
    backbone = load_backbone(card, DEFAULT_ARCH, 224, seed=0).module.eval()

    def features(contract: Contract, images: Tensor) -> Tensor:
        with torch.inference_mode():
            return backbone(Prepare(contract, 224)(images))

    right = features(card.contract, photos)
    swapped = features(replace_contract(card.contract, channels="bgr"), photos)
    dark = features(card.contract, photos // 255)
    for wrong in (swapped, dark):
        # a difference of the size of the features themselves, not of rounding
        assert (wrong - right).norm() > 0.3 * right.norm()
    # and "bgr" is a swap and nothing else
    assert torch.equal(swapped, features(card.contract, photos.flip(1)))


def test_all_296_tensors_are_those_of_the_file(card: InitCard, tensors: dict[str, Tensor]) -> None:
    assert len(tensors) == 296
    backbone = load_backbone(card, DEFAULT_ARCH, 64, seed=0)
    loaded = list(backbone.module.state_dict().values())
    file = list(tensors.values())
    assert len(loaded) == 294  # all but weight and bias of the classifier
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(loaded, file, strict=False))
    assert backbone.weights == f"sha256:{card.sha256}"


def test_the_package_holds_the_file_that_the_code_names(card: InitCard) -> None:
    assert card.file == packaged_file(DEFAULT_ARCH)
    assert card.file is not None and sha256_file(card.file) == card.sha256
    assert card.corpora == ("imagenet-1k",)
    assert card.contract == Contract(interpolation="bicubic")  # TensorFlow's: -1..1


@pytest.mark.parametrize("fault", ["renamed", "missing", "cut"])
def test_a_changed_copy_of_the_package_is_refused(
    fault: str, card: InitCard, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    # By order a new name is no fault, which is why the packaged file is also held to its sha256.
    first = next(iter(tensors))
    changed = {
        "renamed": {("renamed" if name == first else name): value for name, value in tensors.items()},
        "missing": {name: value for name, value in tensors.items() if name != first},
        "cut": {**tensors, first: tensors[first][:, :1].contiguous()},
    }[fault]
    file = tmp_path / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in changed.items()}, file)
    with pytest.raises(UserError, match="is not the file that the card of imagenet describes"):
        load_backbone(replace(card, file=file), DEFAULT_ARCH, 64, seed=0)
    if fault != "renamed":
        with pytest.raises(UserError, match="do not match the network one to one"):
            load_backbone(replace(card, file=file, sha256=sha256_file(file)), DEFAULT_ARCH, 64, seed=0)


def test_a_local_file_brings_timms_contract_and_the_hash_of_its_content(tmp_path: Path) -> None:
    file = tmp_path / "resnet18.safetensors"
    state = build_backbone("resnet18", 64, classes=1000).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, file)
    need = toys.need_of(toys.task_of(toys.Toy()), tmp_path, arch="resnet18", path=file)
    card = imagenet(need)
    assert card.contract.mean == pytest.approx((0.485, 0.456, 0.406))
    assert card.contract.std == pytest.approx((0.229, 0.224, 0.225))
    assert card.identity == f"sha256:{sha256_file(file)}"
    assert load_backbone(card, "resnet18", 64, seed=0).weights == card.identity
    with pytest.raises(UserError, match=r"missing .* left over"):
        load_backbone(card, "resnet18d", 64, seed=0)


def test_an_arch_without_imagenet_weights_says_so(tmp_path: Path) -> None:
    need = toys.need_of(toys.task_of(toys.Toy()), tmp_path, arch="resnet18_cifar")
    with pytest.raises(UserError, match="no ImageNet weights for resnet18_cifar"):
        imagenet(need)


def test_without_hub_and_network_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *place: None)
    need = toys.need_of(toys.task_of(toys.Toy()), tmp_path, arch="resnet18")
    with pytest.raises(UserError) as error:
        imagenet(need)
    assert "imagenet=PATH" in str(error.value) and DEFAULT_ARCH in str(error.value)
