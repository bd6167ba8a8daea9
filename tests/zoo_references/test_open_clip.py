"""Random networks of `open_clip` give the same features after loading."""

from pathlib import Path

import pytest
import torch
import toys
from torch import Tensor, nn

from mednet_bench.baselines.weights.load import load_backbone

open_clip = pytest.importorskip("open_clip", reason="needs the extra zoo: make test-zoo")

SIDE, LAYERS = 64, 2
VISION = {"image_size": SIDE, "patch_size": 16, "width": 128, "layers": LAYERS, "head_width": 64}
TEXT = {"context_length": 8, "vocab_size": 50, "width": 64, "heads": 1, "layers": 1}
ARGS = (("depth", LAYERS), ("embed_dim", 128), ("img_size", SIDE), ("num_heads", 2), ("patch_size", 16))


def stirred(model: nn.Module) -> nn.Module:
    """Make every tensor random: fresh biases are 0 and norms 1, and a swap would not show."""
    torch.manual_seed(0)
    for name, tensor in model.named_parameters():
        scale = ("norm" in name or "ln_" in name) and name.endswith("weight")
        tensor.data.normal_(1.0 if scale else 0.0, 0.2 if scale or tensor.ndim < 2 else 0.1)
    return model.eval()


def largest_difference(
    state: dict[str, Tensor], reference: nn.Module, arch: str, path: Path, **facts: object
) -> float:
    """Save tensors as open_clip's training does, load them, and compare the features of images."""
    torch.save({"state_dict": state}, path)
    network = load_backbone(toys.loaded_card(path, **facts), arch, SIDE, seed=0).module.eval()
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, wanted = network(images), reference(images)
    assert (wanted[0] - wanted[1]).abs().max() > 0.1
    return float((found - wanted).abs().max())


@pytest.mark.parametrize(("quick", "prefix"), [(True, ""), (False, "module.")])
def test_its_own_transformer(quick: bool, prefix: str, tmp_path: Path) -> None:
    model = stirred(open_clip.model.CLIP(32, VISION, TEXT, quick_gelu=quick))
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    assert f"{prefix}visual.proj" in state and f"{prefix}token_embedding.weight" in state
    model.visual.proj = None  # features before the projection
    arch, other = "vit_base_patch16_clip_quickgelu_224", "vit_base_patch16_clip_224"
    arch, other = (arch, other) if quick else (other, arch)
    path = tmp_path / "weights.pt"
    assert largest_difference(state, model.visual, arch, path, arch_args=ARGS) < 1e-4
    # no tensor tells the activation: the card's arch does
    assert largest_difference(state, model.visual, other, path, arch_args=ARGS) > 1e-3


def test_a_trunk_of_timm_as_in_biomedclip(tmp_path: Path) -> None:
    vision = {"timm_model_name": "vit_tiny_patch16_224", "timm_model_pretrained": False, "timm_pool": "",
              "timm_proj": "linear", "image_size": 224}  # fmt: skip
    model = stirred(open_clip.model.CustomTextCLIP(32, vision, TEXT))
    model.visual.trunk.set_input_size(SIDE)
    state = dict(model.state_dict())
    assert "visual.head.proj.weight" in state
    path, args = tmp_path / "weights.pt", (("img_size", SIDE),)
    assert largest_difference(state, model.visual.trunk, "vit_tiny_patch16_224", path, arch_args=args) < 1e-4
