"""The README's architectures: each is built, run at its size, and loads its own weights."""

from pathlib import Path

import pytest
import torch
import toys
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18, resnet50

from mednet_bench.baselines.weights.archs import (
    CIFAR_STEMS,
    build_backbone,
    check_input_size,
    classifier_names,
    feature_width,
)
from mednet_bench.baselines.weights.load import load_backbone
from mednet_bench.baselines.weights.load_state_dict import load_total
from mednet_bench.benchmark.training.model import ImageClassifier
from mednet_bench.core.errors import UserError

PROMISED = [
    ("tf_efficientnet_lite0", 64, 1280),
    ("resnet18", 64, 512),
    ("resnet50", 64, 2048),
    ("densenet121", 64, 1024),
    ("convnext_tiny", 64, 768),
    pytest.param("vit_small_patch16_224", 224, 384, marks=pytest.mark.slow),
    ("vit_small_patch16_224", 64, 384),
    ("vit_small_patch16_224", 28, 384),
    ("resnet18_cifar", 28, 512),
    ("resnet50_cifar", 28, 2048),
]


@pytest.mark.parametrize(("arch", "side", "width"), PROMISED)
def test_a_promised_arch_turns_images_into_features_and_takes_its_own_weights_back(
    arch: str, side: int, width: int, tmp_path: Path
) -> None:
    check_input_size(arch, side)
    model = build_backbone(arch, side).eval()
    images = torch.rand(2, 3, side, side).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        features = model(images)
    assert features.shape == (2, width) and feature_width(model) == width
    assert torch.isfinite(features).all()
    assert not torch.equal(features[0], features[1])  # and they depend on the image
    assert ImageClassifier(model, 7, seed=0)(images).shape == (2, 7)

    # the file as others publish it, classifier included, through the whole strict path
    published = build_backbone(arch, side, classes=10)
    state = {name: value.contiguous() for name, value in published.state_dict().items()}
    file = tmp_path / "weights.safetensors"
    save_file(state, file)
    loaded = load_backbone(toys.loaded_card(file), arch, side, seed=5).module.state_dict()
    assert all(torch.equal(state[name], value) for name, value in loaded.items())
    left_over = state.keys() - loaded.keys()
    assert left_over and all(name.startswith(classifier_names(arch)) for name in left_over)


CONVOLUTIONS = ("resnet18", "resnet50", "densenet121", "convnext_tiny", "tf_efficientnet_lite0")


@pytest.mark.parametrize("arch", (*CONVOLUTIONS, "vit_small_patch16_224"))
def test_a_renamed_tensor_is_found_in_every_promised_arch(arch: str) -> None:
    state = build_backbone(arch, 224).state_dict()
    first = next(iter(state))
    renamed = {(f"{name}_" if name == first else name): value for name, value in state.items()}
    with pytest.raises(UserError, match=r"1 missing .* 1 left over"):
        load_total(build_backbone(arch, 224), renamed, classifier_names(arch), "test")


def test_a_transformer_sees_another_side_with_the_position_embedding_of_its_weights() -> None:
    # Resampled in the forward pass, and so the same tensors fit every --input-size.
    small, native = (build_backbone("vit_small_patch16_224", side).eval() for side in (64, 224))
    assert small.state_dict()["pos_embed"].shape == native.state_dict()["pos_embed"].shape == (1, 197, 384)
    load_total(small, native.state_dict(), (), "test")
    with torch.inference_mode():
        images = torch.rand(1, 3, 224, 224)
        assert torch.allclose(small(images), native(images), atol=1e-4)


def cifar_reference(arch: str) -> nn.Module:
    """MedMNIST v2's ResNet, from its `models.py`: 3x3 stem, no pooling, otherwise torchvision's."""
    model = {"resnet18_cifar": resnet18, "resnet50_cifar": resnet50}[arch](weights=None)
    model.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
    model.maxpool = nn.Identity()
    model.fc = nn.Identity()
    return model.eval()


@pytest.mark.parametrize("arch", CIFAR_STEMS)
def test_the_cifar_resnets_are_those_of_medmnist(arch: str) -> None:
    ours, theirs = build_backbone(arch, 28).eval(), cifar_reference(arch)
    shapes = {name: value.shape for name, value in theirs.state_dict().items()}
    assert {name: value.shape for name, value in ours.state_dict().items()} == shapes
    if arch == "resnet18_cifar":
        assert sum(p.numel() for p in ours.parameters()) == 11_168_832
    theirs.load_state_dict(ours.state_dict())
    images = torch.rand(2, 3, 28, 28)
    with torch.inference_mode():
        assert torch.allclose(ours(images), theirs(images), atol=1e-5)
    assert ours.layer4(torch.rand(1, {18: 256, 50: 1024}[18 if "18" in arch else 50], 7, 7)).shape[-1] == 4


def test_weights_of_the_imagenet_stem_do_not_fit_the_cifar_stem() -> None:
    state = build_backbone("resnet18", 28).state_dict()
    with pytest.raises(UserError, match=r"conv1\.weight \(64, 3, 7, 7\) instead of \(64, 3, 3, 3\)"):
        load_total(build_backbone("resnet18_cifar", 28), state, (), "test")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("resnet81", "resnet18"), ("resnet18-cifar", "resnet18_cifar"), ("Densenet121", "densenet121")],
)
def test_an_unknown_name_is_answered_with_the_nearest(wrong: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"'{wrong}'; did you mean '{meant}'"):
        build_backbone(wrong, 64)


@pytest.mark.parametrize(
    ("arch", "side", "cure"),
    [
        ("convnext_tiny", 16, "larger --input-size"),
        ("vgg11", 16, "larger --input-size"),
        ("cait_xxs24_224", 64, "--input-size 224"),
    ],
)
def test_an_input_that_is_too_small_gives_one_sentence(arch: str, side: int, cure: str) -> None:
    with pytest.raises(UserError) as error:
        check_input_size(arch, side)
    assert arch in str(error.value) and cure in str(error.value) and "\n" not in str(error.value)


def test_a_transformer_that_pads_its_own_windows_is_built_too() -> None:
    # timm's Swin takes another side only since 1.0.20; before, the answer is a sentence and no TypeError
    try:
        check_input_size("swin_s3_tiny_224", 64)
    except UserError as error:
        assert "--input-size 224" in str(error)


def test_the_head_is_the_same_for_every_init_of_a_seed() -> None:
    one, two = build_backbone(toys.ARCH, 16), build_backbone(toys.ARCH, 16)
    heads = [ImageClassifier(model, 3, seed).head for model, seed in ((one, 4), (two, 4), (one, 5))]
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert not torch.equal(heads[0].weight, heads[2].weight)
