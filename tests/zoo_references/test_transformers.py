"""Random networks saved by `transformers` give the same features after loading, card by card."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import toys
from torch import Tensor, nn

from mednet_bench.baselines.init import InitCard
from mednet_bench.baselines.sources.zoo import init_of
from mednet_bench.baselines.weights.load import load_backbone
from mednet_bench.baselines.zoo.card import find_zoo_card

transformers = pytest.importorskip("transformers", reason="needs the extra zoo: make test-zoo")

LAYERS = 2
CLOSE = 1e-4
"""Largest difference of a feature; features are layer-normed, about 1."""
TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
        "vocab_size": 50, "max_position_embeddings": 8, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip


def stirred(model: nn.Module) -> nn.Module:
    """Make every tensor random: fresh biases are 0 and norms 1, and a swap would not show."""
    torch.manual_seed(0)
    for name, tensor in model.named_parameters():
        scale = "norm" in name and name.endswith("weight")
        tensor.data.normal_(1.0 if scale else 0.0, 0.2 if scale or tensor.ndim < 2 else 0.04)
    return model.eval()


def saved(model: nn.Module, folder: Path) -> Path:
    """Save a network as published: `save_pretrained` writes the names that the hub's files have."""
    model.save_pretrained(folder)  # type: ignore[operator]
    return folder / "model.safetensors"


def class_token(model: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda images: model(images).last_hidden_state[:, 0]


def pooled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda images: model(images).pooler_output


def check_features(
    init: InitCard, arch: str, side: int, features: Callable[[Tensor], Tensor], close: float = CLOSE
) -> None:
    """Compare with the reference, and check that features depend on the image."""
    network = load_backbone(init, arch, side, seed=0)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, wanted = network.module.eval()(images), features(images)
    assert (wanted[0] - wanted[1]).abs().max() > 0.1
    torch.testing.assert_close(found, wanted, rtol=0, atol=close)
    assert network.notes == ()


def dinov2(**facts: object) -> nn.Module:
    return transformers.Dinov2Model(transformers.Dinov2Config(num_hidden_layers=LAYERS, **facts))


def phikon() -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    config = transformers.ViTConfig(
        hidden_size=768, num_hidden_layers=LAYERS, num_attention_heads=12, intermediate_size=3072,
        layer_norm_eps=1e-12, image_size=224, patch_size=16,
    )  # fmt: skip
    model = stirred(transformers.ViTModel(config))
    return model, class_token(model)


def phikon_v2() -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    model = stirred(dinov2(hidden_size=1024, num_attention_heads=16, image_size=224, patch_size=16))
    return model, class_token(model)


def midnight() -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    facts = {"hidden_size": 1536, "num_attention_heads": 24, "image_size": 224, "patch_size": 14}
    model = stirred(dinov2(use_swiglu_ffn=True, **facts))
    return model, class_token(model)


def monet() -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    vision = {"hidden_size": 1024, "num_hidden_layers": LAYERS, "num_attention_heads": 16,
              "intermediate_size": 4096, "patch_size": 14, "image_size": 224,
              "hidden_act": "quick_gelu"}  # fmt: skip
    config = transformers.CLIPConfig(text_config=TEXT, vision_config=vision, projection_dim=8)
    model = stirred(transformers.CLIPModel(config))
    return model, pooled(model.vision_model)


def medsiglip() -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    vision = {"hidden_size": 1152, "num_hidden_layers": LAYERS, "num_attention_heads": 16,
              "intermediate_size": 4304, "patch_size": 14, "image_size": 448,
              "hidden_act": "gelu_pytorch_tanh"}  # fmt: skip
    config = transformers.SiglipConfig(text_config=TEXT, vision_config=vision)
    model = stirred(transformers.SiglipModel(config))
    return model, pooled(model.vision_model)


CARDS = {"phikon": phikon, "phikon-v2": phikon_v2, "midnight-12k": midnight, "monet": monet,
         "medsiglip": medsiglip}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CARDS)
def test_a_network_of_a_cards_shape_gives_the_same_features(name: str, tmp_path: Path) -> None:
    # the published width, heads, activation and epsilon, with two layers
    card = find_zoo_card(name)
    model, features = CARDS[name]()
    init = init_of(card, saved(model, tmp_path))
    init = replace(init, arch_args=(*init.arch_args, ("depth", LAYERS)))
    check_features(init, card.arch, card.input_size, features)


SMALL = {"hidden_size": 64, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "image_size": 64,
         "patch_size": 16}  # fmt: skip
ARGS = (("depth", LAYERS), ("embed_dim", 64), ("img_size", 64), ("num_heads", 4), ("patch_size", 16))


def test_registers_and_their_class_position(tmp_path: Path) -> None:
    config = transformers.Dinov2WithRegistersConfig(num_register_tokens=4, **SMALL)
    model = stirred(transformers.Dinov2WithRegistersModel(config))
    init = toys.loaded_card(saved(model, tmp_path), arch_args=ARGS)
    check_features(init, "vit_base_patch14_reg4_dinov2", 64, class_token(model))


def test_a_classifiers_head_is_left_over(tmp_path: Path) -> None:
    config = transformers.ViTConfig(intermediate_size=256, **SMALL)
    model = stirred(transformers.ViTForImageClassification(config))
    init = toys.loaded_card(saved(model, tmp_path), arch_args=(*ARGS, ("layer_norm_eps", 1e-12)))
    check_features(init, "vit_base_patch16_224", 64, class_token(model.vit))


def test_an_autoencoders_decoder_is_left_over(tmp_path: Path) -> None:
    config = transformers.ViTMAEConfig(
        intermediate_size=256, mask_ratio=0.0, decoder_hidden_size=32, decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2, decoder_intermediate_size=32, **SMALL,
    )  # fmt: skip
    model = stirred(transformers.ViTMAEForPreTraining(config))
    init = toys.loaded_card(saved(model, tmp_path), arch_args=(*ARGS, ("layer_norm_eps", 1e-12)))
    # without a mask the patches are only shuffled, after their positions were added
    check_features(init, "vit_base_patch16_224", 64, class_token(model.vit))


def test_another_epsilon_shows(tmp_path: Path) -> None:
    config = transformers.ViTConfig(intermediate_size=256, layer_norm_eps=1e-2, **SMALL)
    model = stirred(transformers.ViTModel(config))
    init = toys.loaded_card(saved(model, tmp_path), arch_args=ARGS)
    with pytest.raises(AssertionError, match="not close"):
        check_features(init, "vit_base_patch16_224", 64, class_token(model))
