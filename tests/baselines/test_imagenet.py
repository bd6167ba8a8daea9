"""ImageNet weights through our whole path must still recognize a palace and a daisy.

This is the one proof that mean, std, value range, channel order, resizing and the order of 296 renamed
tensors are all right together; a mistake in any of them would only show as "ImageNet does not help".
"""

import re
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import toys
from safetensors.torch import save_file
from torch import Tensor

from mednet_bench.baselines.init import InitCard, InputSpec
from mednet_bench.baselines.sources.imagenet import packaged_file, resolve_imagenet
from mednet_bench.baselines.timm_tags import beyond_imagenet, declare_tag
from mednet_bench.baselines.weights.archs import DEFAULT_ARCH, build_backbone
from mednet_bench.baselines.weights.load import load_backbone
from mednet_bench.baselines.weights.load_state_dict import load_total, read_tensors, rename_by_order
from mednet_bench.baselines.weights.prepare import InputPreparation
from mednet_bench.benchmark.run.new_record import init_facts
from mednet_bench.core.errors import UserError
from mednet_bench.core.files import sha256_file
from mednet_bench.tasks.catalog import catalog
from mednet_bench.tasks.databases.tables import sets_without_row
from mednet_bench.tasks.task import DataLocations

PALACE, DAISY, ORANGE = 698, 985, 950  # of the 1,000 ImageNet classes


@pytest.fixture(scope="module")
def card() -> InitCard:
    return resolve_imagenet(toys.need_of(toys.task_of(toys.Toy()), Path("/nonexistent"), arch=DEFAULT_ARCH))


@pytest.fixture(scope="module")
def tensors(card: InitCard) -> dict[str, Tensor]:
    assert card.file is not None
    return read_tensors(card.file)


@pytest.fixture(scope="module")
def classifier(tensors: dict[str, Tensor]) -> torch.nn.Module:
    """The network with its 1,000 outputs, filled as `load_backbone` fills it without them."""
    model = build_backbone(DEFAULT_ARCH, 224, classes=1000)
    load_total(model, rename_by_order(tensors, model.state_dict(), "test"), (), "test")
    return model.eval()


@pytest.fixture(scope="module")
def photos() -> Tensor:
    """A Chinese palace and a daisy-like flower, cut square: uint8 [2, 3, 427, 427]."""
    from sklearn.datasets import load_sample_images

    images = np.stack(load_sample_images().images)  # [2, 427, 640, 3]
    return torch.from_numpy(images[:, :, 106:533].copy()).permute(0, 3, 1, 2)


def sure_of(
    classifier: torch.nn.Module, contract: InputSpec, photos: Tensor
) -> tuple[list[int], list[float]]:
    """The winning class of each photo, and the probabilities of palace and daisy."""
    with torch.inference_mode():
        scores = classifier(InputPreparation(contract, 224)(photos)).softmax(dim=1)
    return scores.argmax(dim=1).tolist(), [float(scores[0, PALACE]), float(scores[1, DAISY])]


def test_a_palace_and_a_daisy_are_recognized(
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


def ball(color: tuple[int, int, int]) -> Tensor:
    """A shaded, slightly rough ball on a light ground: uint8 [1, 3, 224, 224]."""
    y, x = np.mgrid[-1:1:224j, -1:1:224j] / 0.7
    height = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
    shade = np.clip(0.35 + 0.65 * (0.7 * height - 0.45 * y - 0.45 * x), 0, 1.2)
    rough = 1 + 0.05 * np.random.default_rng(0).standard_normal(shade.shape)
    picture = np.where((x**2 + y**2 < 1)[..., None], (shade * rough)[..., None] * color, 240)
    return torch.from_numpy(picture.clip(0, 255).astype(np.uint8)).permute(2, 0, 1)[None]


def test_red_comes_first(classifier: torch.nn.Module, card: InitCard) -> None:
    # A palace in false colors is still a palace; but an orange is one by its color alone.
    orange, blue = ball((255, 140, 10)), ball((10, 140, 255))
    swapped = replace_contract(card.contract, channels="bgr")
    with torch.inference_mode():
        seen = [
            classifier(InputPreparation(contract, 224)(picture)).argmax().item()
            for contract, picture in ((card.contract, orange), (card.contract, blue), (swapped, orange))
        ]
    assert seen[0] == ORANGE
    assert seen[1] != ORANGE and seen[1] == seen[2]


def replace_contract(contract: InputSpec, **facts: object) -> InputSpec:
    return msgspec.structs.replace(contract, **facts)


def test_channel_order_and_range_reach_the_features(card: InitCard, photos: Tensor) -> None:
    backbone = load_backbone(card, DEFAULT_ARCH, 224, seed=0).module.eval()

    def features(contract: InputSpec, images: Tensor) -> Tensor:
        with torch.inference_mode():
            return backbone(InputPreparation(contract, 224)(images))

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
    assert card.contract == InputSpec(interpolation="bicubic")  # TensorFlow's: -1..1


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
    card = resolve_imagenet(need)
    assert card.contract.mean == pytest.approx((0.485, 0.456, 0.406))
    assert card.contract.std == pytest.approx((0.229, 0.224, 0.225))
    assert card.identity == f"sha256:{sha256_file(file)}"
    assert load_backbone(card, "resnet18", 64, seed=0).weights == card.identity
    with pytest.raises(UserError, match=r"missing .* left over"):
        load_backbone(card, "resnet18d", 64, seed=0)


def test_an_arch_without_imagenet_weights_says_so(tmp_path: Path) -> None:
    need = toys.need_of(toys.task_of(toys.Toy()), tmp_path, arch="resnet18_cifar")
    with pytest.raises(UserError, match="no ImageNet weights for resnet18_cifar"):
        resolve_imagenet(need)


def test_without_hub_and_network_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *place: None)
    need = toys.need_of(toys.task_of(toys.Toy()), tmp_path, arch="resnet18")
    with pytest.raises(UserError) as error:
        resolve_imagenet(need)
    assert "imagenet=PATH" in str(error.value) and DEFAULT_ARCH in str(error.value)


MEDICAL = "breastmnist"
# what papers and model cards say of some weights, written down apart from the vocabulary
TRUTHS: dict[str, tuple[set[str], str, str]] = {
    "tf_efficientnet_lite0.in1k": ({"imagenet-1k"}, "supervised", "apache-2.0"),
    "resnet50.a1_in1k": ({"imagenet-1k"}, "supervised", "apache-2.0"),
    "vit_base_patch8_224.augreg2_in21k_ft_in1k": (
        {"imagenet-21k", "imagenet-1k"}, "supervised", "apache-2.0",
    ),
    "convnext_nano.in12k": ({"imagenet-12k"}, "supervised", "apache-2.0"),
    "vit_base_patch16_224.dino": ({"imagenet-1k"}, "self-supervised DINO", "apache-2.0"),
    "vit_base_patch16_224.mae": ({"imagenet-1k"}, "self-supervised MAE", "cc-by-nc-4.0"),
    "vit_base_patch16_224.sam_in1k": ({"imagenet-1k"}, "supervised", "apache-2.0"),
    "vit_huge_patch14_gap_224.in1k_ijepa": ({"imagenet-1k"}, "self-supervised I-JEPA", "cc-by-nc-4.0"),
    "eva02_base_patch14_224.mim_in22k": ({"imagenet-22k"}, "masked image modeling", "mit"),
    "beit_base_patch16_224.in22k_ft_in22k_in1k": (
        {"imagenet-22k", "imagenet-1k"}, "masked image modeling + supervised", "apache-2.0",
    ),
    "samvit_base_patch16.sa1b": (
        {"imagenet-1k", "sa-1b"}, "self-supervised MAE + supervised segmentation", "apache-2.0",
    ),
    "resnet18.fb_swsl_ig1b_ft_in1k": (
        {"web:instagram", "imagenet-1k"}, "semi-weakly supervised by hashtags + supervised", "cc-by-nc-4.0",
    ),
    "tf_efficientnet_b0.ns_jft_in1k": (
        {"web:jft-300m", "imagenet-1k"}, "semi-supervised noisy student + supervised", "apache-2.0",
    ),
    "vit_base_patch14_dinov2.lvd142m": ({"web:lvd-142m"}, "self-supervised DINOv2", "apache-2.0"),
    "vit_small_patch16_dinov3.lvd1689m": ({"web:lvd-1689m"}, "self-supervised DINOv3", "dinov3-license"),
    "vit_large_patch16_dinov3.sat493m": ({"sat-493m"}, "self-supervised DINOv3", "dinov3-license"),
    "convnext_tiny.dinov3_lvd1689m": ({"web:lvd-1689m"}, "self-supervised DINOv3", "dinov3-license"),
    "vit_base_patch16_clip_224.openai": ({"web:wit-400m"}, "image-text", "apache-2.0"),
    "vit_base_patch16_clip_224.laion2b_ft_in1k": (
        {"web:laion-2b", "imagenet-1k"}, "image-text + supervised", "apache-2.0",
    ),
    "vit_base_patch16_clip_224.datacompxl": ({"web:datacomp-1b"}, "image-text", "apache-2.0"),
    "vit_base_patch16_siglip_224.webli": ({"web:webli"}, "image-text", "apache-2.0"),
    "eva_giant_patch14_224.clip_ft_in1k": ({"imagenet-1k", "unknown"}, "image-text + supervised", "mit"),
    "beit3_base_patch16_224.in22k_ft_in1k": (
        {"imagenet-22k", "imagenet-1k", "unknown"}, "masked image modeling + supervised", "apache-2.0",
    ),
    "mobilenetv5_300m.gemma3n": ({"unknown"}, "unknown", "gemma"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRUTHS)
def test_what_weights_have_seen_is_declared_by_their_tag(name: str) -> None:
    import timm

    cfg = timm.get_pretrained_cfg(name)
    if cfg is None or f".{cfg.tag}" != Path(name).suffix:
        pytest.skip(f"this release of timm does not list {name}")
    declared = declare_tag(cfg)
    assert (set(declared.corpora), declared.objective, declared.license) == TRUTHS[name]


def test_every_tag_that_timm_lists_is_declared_and_imagenet_only_where_it_is() -> None:
    import timm

    without_the_word = {"dino", "fb_dino", "mae", "fcmae", "sa1b", "m30m", "m38m"}  # but ImageNet was seen
    for name in timm.list_pretrained():
        cfg = timm.get_pretrained_cfg(name)
        assert cfg is not None
        declared, tag = declare_tag(cfg), cfg.tag or ""
        assert declared.corpora and declared.objective, name
        assert declared.license == (cfg.license or "unknown"), name
        assert all(id in sets_without_row() or id == "unknown" for id in declared.corpora), name
        sizes = set(re.findall(r"in(?:w?21|1|12|22)k", tag))
        wanted = {f"imagenet-{size[2:].removeprefix('w')}" for size in sizes}
        found = {id for id in declared.corpora if id.startswith("imagenet-")}
        assert found >= wanted, name
        assert sizes or without_the_word & {tag, *tag.split("_")} or not found, name
        label = declared.label.removeprefix("not declared as ImageNet: ")
        assert ("ImageNet" in label) == bool(found)


@pytest.mark.parametrize("tag", [None, "", "untrained", "rad2_in1k", "in1k_mimic", "foo", "in999k"])
def test_an_unknown_word_in_a_tag_is_declared_unknown(tag: str | None) -> None:
    from timm.models import PretrainedCfg

    declared = declare_tag(PretrainedCfg(tag=tag, architecture="resnet50", license=None))
    assert "unknown" in declared.corpora and declared.license == "unknown"
    task = catalog(DataLocations(medmnist_cache=Path("/nonexistent"), download=False))[MEDICAL]
    assert task.contamination(declared.corpora).level == "possible"


def card_of(arch: str, folder: Path) -> InitCard:
    """What `--inits imagenet=FILE --archs ARCH` resolves to; nothing is loaded."""
    file = folder / "weights.safetensors"
    file.write_bytes(arch.encode())
    return resolve_imagenet(toys.need_of(toys.task_of(toys.Toy()), folder, arch=arch, path=file))


@pytest.mark.parametrize(
    "arch", ["vit_small_patch14_dinov2", "vit_base_patch16_clip_224.openai", "samvit_base_patch16_224"]
)
def test_weights_that_are_not_imagenets_are_not_called_so(arch: str, tmp_path: Path) -> None:
    card = card_of(arch, tmp_path)
    task = catalog(DataLocations(medmnist_cache=Path("/nonexistent"), download=False))[MEDICAL]
    assert "imagenet-1k" not in card.corpora
    assert card.label.startswith("not declared as ImageNet: ")
    facts = init_facts(card, task)  # a crawl of the web may hold a public set, and a silent tag anything
    assert facts.overlap == () and len(facts.possible) == 1
    assert card.objective and card.license
    assert (facts.objective, facts.license) == (card.objective, card.license)
    assert "not declared as ImageNet's" in beyond_imagenet("imagenet", facts.corpora)
    assert beyond_imagenet("my-dino", facts.corpora) == ""


def test_plain_imagenet_is_no_doubt(tmp_path: Path, card: InitCard) -> None:
    task = catalog(DataLocations(medmnist_cache=Path("/nonexistent"), download=False))[MEDICAL]
    for sound in (card, card_of("resnet50", tmp_path), card_of("vit_base_patch16_224", tmp_path)):
        assert init_facts(sound, task).possible == () and beyond_imagenet("imagenet", sound.corpora) == ""
        assert sound.label.startswith("ImageNet-") and sound.objective == "supervised"
    web_start = card_of("vit_base_patch16_clip_224.laion2b_ft_in1k", tmp_path)
    assert "more than ImageNet: web:laion-2b" in beyond_imagenet("imagenet", web_start.corpora)
