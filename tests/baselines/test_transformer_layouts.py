"""Small transformers under the names of each publisher load as the same network; others are refused."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import toys
from safetensors.torch import save_file
from torch import Tensor, nn

from mednet_bench.baselines.init import ArchArg, InitCard
from mednet_bench.baselines.weights import layout_derive
from mednet_bench.baselines.weights.archs import build_backbone, classifier_names
from mednet_bench.baselines.weights.input_spec import preprocessing_warnings
from mednet_bench.baselines.weights.inspect import inspect_checkpoint
from mednet_bench.baselines.weights.layout import TargetModel
from mednet_bench.baselines.weights.layout_derive import derive_key_map
from mednet_bench.baselines.weights.load import load_backbone
from mednet_bench.baselines.zoo.card import find_zoo_card
from mednet_bench.core.errors import UserError

State = dict[str, Tensor]
SIDE, PATCH, WIDTH, DEPTH = 32, 8, 16, 2
SMALL: dict[str, ArchArg] = {
    "img_size": SIDE, "patch_size": PATCH, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": 2,
}  # fmt: skip
ODD = torch.ones(2, 3)
"""A tensor that no network has."""


def renamed(state: State, names: dict[str, str]) -> State:
    """Rename by exact text, the longest first; every tensor must change its name or be named."""
    ordered = sorted(names.items(), key=lambda pair: -len(pair[0]))
    found: State = {}
    for name, tensor in state.items():
        old = next(ours for ours, _ in ordered if ours in name)
        found[name.replace(old, names[old])] = tensor
    return found


def thirds(state: State, joined: str, names: tuple[str, str, str]) -> State:
    """Write query, key and value apart."""
    found: State = {}
    for name, tensor in state.items():
        if joined not in name:
            found[name] = tensor
            continue
        for part, each in zip(tensor.chunk(3), names, strict=True):
            found[name.replace(joined, each)] = part
    return found


def under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def open_clip(state: State) -> State:
    state = {name: tensor.squeeze(0) if name == "pos_embed" else tensor for name, tensor in state.items()}
    state["cls_token"] = state["cls_token"].flatten()
    names = {
        "cls_token": "class_embedding", "pos_embed": "positional_embedding", "patch_embed.proj": "conv1",
        "norm_pre": "ln_pre",
    }  # fmt: skip
    inside = {
        ".norm1": ".ln_1", ".norm2": ".ln_2", "attn.qkv.": "attn.in_proj_", "attn.proj": "attn.out_proj",
        "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    }  # fmt: skip
    found = {}
    for name, tensor in state.items():
        if name.startswith("blocks."):
            name = "transformer.resblocks." + next(iter(renamed({name: tensor}, inside))).removeprefix(
                "blocks."
            )
        elif name.startswith("norm."):
            name = name.replace("norm", "ln_post")
        else:
            name = next(iter(renamed({name: tensor}, names)))
        found[f"visual.{name}"] = tensor
    return found


HF_VIT = {
    "cls_token": "embeddings.cls_token", "pos_embed": "embeddings.position_embeddings",
    "reg_token": "embeddings.register_tokens", "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm.": "layernorm.", "blocks.": "encoder.layer.",
}  # fmt: skip
HF_CLIP = {
    "cls_token": "embeddings.class_embedding", "pos_embed": "embeddings.position_embedding.weight",
    "patch_embed.proj": "embeddings.patch_embedding", "norm_pre.": "pre_layrnorm.",
    "norm.": "post_layernorm.", "blocks.": "encoder.layers.", "attn_pool.latent": "head.probe",
    "attn_pool.proj": "head.attention.out_proj", "attn_pool.norm.": "head.layernorm.",
    "attn_pool.mlp": "head.mlp", "attn_pool.in.": "head.attention.in_proj_",
}  # fmt: skip


def hf_vit(state: State) -> State:
    inside = {
        ".norm1": ".layernorm_before", ".norm2": ".layernorm_after", ".mlp.fc1": ".intermediate.dense",
        ".mlp.fc2": ".output.dense", ".attn.proj": ".attention.output.dense", ".attn.qkv": ".attn.qkv",
    }  # fmt: skip
    return hf_blocks(state, HF_VIT, inside, [f"attention.attention.{w}" for w in ("query", "key", "value")])


def hf_dinov2(state: State) -> State:
    inside = {
        ".norm1": ".norm1", ".norm2": ".norm2", ".mlp.fc1": ".mlp.weights_in", ".mlp.fc2": ".mlp.weights_out",
        ".attn.proj": ".attention.output.dense", ".attn.qkv": ".attn.qkv",
        ".ls1.gamma": ".layer_scale1.lambda1", ".ls2.gamma": ".layer_scale2.lambda1",
    }  # fmt: skip
    words = [f"attention.attention.{word}" for word in ("query", "key", "value")]
    return hf_blocks(with_class_position(state, "reg_token"), HF_VIT, inside, words)


def hf_clip(state: State) -> State:
    state = {name: tensor[0] if name == "pos_embed" else tensor for name, tensor in state.items()}
    if "cls_token" in state:
        state["cls_token"] = state["cls_token"].flatten()
    for leaf in ("weight", "bias"):
        if f"attn_pool.q.{leaf}" in state:
            parts = state.pop(f"attn_pool.q.{leaf}"), state.pop(f"attn_pool.kv.{leaf}")
            state[f"attn_pool.in.{leaf}"] = torch.cat(parts)
    inside = {
        ".norm1": ".layer_norm1", ".norm2": ".layer_norm2", ".mlp": ".mlp", ".attn.qkv": ".attn.qkv",
        ".attn.proj": ".self_attn.out_proj",
    }  # fmt: skip
    words = [f"self_attn.{word}_proj" for word in "qkv"]
    return under("vision_model.", hf_blocks(state, HF_CLIP, inside, words))


def hf_blocks(state: State, outside: dict[str, str], inside: dict[str, str], words: list[str]) -> State:
    blocks = {name: tensor for name, tensor in state.items() if name.startswith("blocks.")}
    others = {name: tensor for name, tensor in state.items() if name not in blocks}
    found = {**renamed(others, outside), **renamed(renamed(blocks, inside), {"blocks.": outside["blocks."]})}
    return thirds(found, "attn.qkv", (words[0], words[1], words[2]))


def with_class_position(state: State, registers: str) -> State:
    """Write the class token without the position that is added to it, where there are registers."""
    if "reg_token" not in state:
        return state
    position = torch.linspace(-1, 1, WIDTH).view(1, 1, WIDTH)
    table = torch.cat([position, state["pos_embed"]], dim=1)
    state = {**state, "cls_token": state["cls_token"] - position, "pos_embed": table}
    return {registers if name == "reg_token" else name: tensor for name, tensor in state.items()}


def chunked(state: State) -> State:
    """Block 1 is in the second chunk, as in DINOv2's own trainings."""
    names = {f"blocks.{n}.": f"blocks.{n}.{n}." for n in range(DEPTH)}
    blocks = renamed({n: t for n, t in state.items() if n.startswith("blocks.")}, names)
    return {**{n: t for n, t in state.items() if not n.startswith("blocks.")}, **blocks}


def swiglu(state: State) -> State:
    state = with_class_position(state, "register_tokens")
    return {name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): t for name, t in state.items()}


def identity(state: State) -> State:
    return state


@dataclass(frozen=True)
class Published:
    """A publisher's names: how a network is written, and what stands beside it in the file."""

    layout: str
    arch: str
    write: Callable[[State], State]
    beside: dict[str, str]
    args: dict[str, ArchArg] = field(default_factory=dict)


TEXT = {"text_model.embeddings.token_embedding.weight": "text encoder", "logit_scale": "scale of the loss"}
PUBLISHED = {
    "open_clip with a trunk of timm": Published(
        "openclip", "vit_base_patch16_224", lambda state: under("visual.trunk.", state),
        {"visual.head.proj.weight": "projection", "text.transformer.encoder.x.weight": "text encoder",
         "logit_bias": "scale of the loss"},
    ),
    "open_clip, own transformer": Published(
        "openclip", "vit_base_patch16_clip_quickgelu_224", open_clip,
        {"visual.proj": "projection", "transformer.resblocks.0.ln_1.weight": "text encoder",
         "positional_embedding": "text encoder", "input_resolution": "setting"},
    ),
    "open_clip's training": Published(
        "openclip", "vit_base_patch16_clip_224", lambda state: under("module.", open_clip(state)),
        {"module.visual.proj": "projection", "module.logit_scale": "scale of the loss"},
    ),
    "transformers' ViT": Published(
        "huggingface", "vit_base_patch16_224", hf_vit, {"pooler.dense.weight": "pooler"},
        {"layer_norm_eps": 1e-12},
    ),
    "transformers' classifier": Published(
        "huggingface", "vit_base_patch16_224", lambda state: under("vit.", hf_vit(state)),
        {"classifier.weight": "classifier", "vit.embeddings.mask_token": "mask token"},
    ),
    "transformers' DINOv2, SwiGLU, registers": Published(
        "huggingface", "vit_giant_patch14_reg4_dinov2", hf_dinov2, {"embeddings.mask_token": "mask token"},
        {"mlp_ratio": 4.0},
    ),
    "transformers' CLIP": Published(
        "huggingface", "vit_base_patch16_clip_quickgelu_224", hf_clip,
        {**TEXT, "visual_projection.weight": "projection"},
    ),
    "transformers' SigLIP": Published(
        "huggingface", "vit_base_patch16_siglip_224", hf_clip, TEXT, {"act_layer": "gelu_tanh"}
    ),
    "MAE": Published(
        "mae", "vit_base_patch16_224", identity,
        {"mask_token": "mask token", "decoder_blocks.0.norm1.weight": "decoder",
         "decoder_pos_embed": "decoder"},
    ),
    "MAE, fine-tuned with averaged tokens": Published(
        "timm", "vit_base_patch16_224", identity, {"head.weight": ""}, {"global_pool": "avg"}
    ),
    "DINOv2": Published("dinov2", "vit_base_patch14_dinov2", identity, {"mask_token": "mask token"}),
    "DINOv2 with registers and SwiGLU": Published(
        "dinov2", "vit_giant_patch14_reg4_dinov2", swiglu, {"mask_token": "mask token"}, {"mlp_ratio": 4.0}
    ),
    "DINOv2's training": Published(
        "dinov2", "vit_base_patch14_dinov2", lambda state: under("teacher.backbone.", chunked(state)),
        {"teacher.backbone.mask_token": "mask token", "teacher.dino_head.mlp.0.weight": "projection head",
         "student.backbone.norm.weight": "student",
         "student.ibot_head.last_layer.weight_g": "projection head"},
    ),
    "DINO's student": Published(
        "dinov2", "vit_base_patch16_224", lambda state: under("student.module.backbone.", state),
        {"student.module.head.last_layer.weight_v": "projection head"},
    ),
    "DINO's teacher of a file that holds each network apart": Published(
        "dinov2", "vit_base_patch16_224", lambda state: under("module.backbone.", state),
        {"module.head.mlp.0.weight": "projection head"},
    ),
}  # fmt: skip


def source(published: Published, **args: ArchArg) -> nn.Module:
    """A network of the arch, of one size for all, whose every tensor is random: a swap would show."""
    torch.manual_seed(0)
    model = build_backbone(published.arch, SIDE, args={**SMALL, **published.args, **args}).eval()
    for tensor in model.state_dict().values():
        tensor.normal_(0, 0.5)
    return model


def file_of(published: Published, model: nn.Module) -> State:
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    beside = {name: torch.rand(3) for name in published.beside}
    return {**published.write(state), **beside}


def features(model: nn.Module, side: int = SIDE) -> Tensor:
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return model.eval()(images)


def card_of(path: Path, state: State, args: dict[str, ArchArg], **facts: object) -> InitCard:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return toys.loaded_card(path, arch_args=tuple(args.items()), **facts)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_transformer_gives_the_features_of_its_source(name: str, tmp_path: Path) -> None:
    published = PUBLISHED[name]
    model = source(published)
    state, args = file_of(published, model), {**SMALL, **published.args}
    target = TargetModel(published.arch, model, classifier_names(published.arch))
    found = derive_key_map(state, target, (), "", name)
    assert found.layout == published.layout and found.left == published.beside
    for layout in ("", published.layout):
        card = card_of(tmp_path / "weights.safetensors", state, args, layout=layout)
        loaded = load_backbone(card, published.arch, SIDE, seed=1).module
        # the position of a class token is added in another order
        torch.testing.assert_close(features(loaded), features(model), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_renamed_a_missing_and_an_extra_tensor_are_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        layout_derive, "likely_archs", lambda names: ()
    )  # a refusal compares them for its cure
    published = PUBLISHED[name]
    model = source(published)
    state = file_of(published, model)
    target = TargetModel(published.arch, model, classifier_names(published.arch))
    body = [each for each in state if each not in published.beside and "." in each]
    for victim in (body[0], body[len(body) // 2], body[-1]):
        missing = {each: tensor for each, tensor in state.items() if each != victim}
        for damaged in (missing, {**missing, f"{victim}_": state[victim]}):
            with pytest.raises(UserError, match=r"missing|of another shape"):
                derive_key_map(damaged, target, (), "", name)
        extra = f"{victim.rpartition('.')[0]}.extra"
        with pytest.raises(UserError, match=rf"1 left over \({re.escape(extra)}"):
            derive_key_map({**state, extra: ODD}, target, (), "", name)


def test_two_networks_in_one_file_are_not_mixed() -> None:
    published = PUBLISHED["DINO's student"]
    model = source(published)
    own = model.state_dict()
    target = TargetModel(published.arch, model, classifier_names(published.arch))
    both = {**under("teacher.backbone.", own), **under("student.backbone.", {n: -t for n, t in own.items()})}
    found = derive_key_map(both, target, (), "", "both")
    assert set(found.left.values()) == {"student"} and found.prefix == ""
    assert torch.equal(found.convert(both)["norm.weight"], own["norm.weight"])


CARDS = {
    "biomedclip": "open_clip with a trunk of timm", "unimed-clip": "open_clip, own transformer",
    "retfound-cfp": "MAE", "retfound-oct": "MAE", "medical-mae-vit-b16": "MAE", "medical-mae-vit-s16": "MAE",
    "endovit": "MAE", "usf-mae": "MAE", "ultrafedfm": "MAE", "rad-dino": "DINOv2",
    "dinobloom-b14": "DINOv2's training",
}  # fmt: skip


@pytest.mark.parametrize("name", CARDS)
def test_a_card_reads_the_names_of_its_publisher(name: str) -> None:
    card, published = find_zoo_card(name), PUBLISHED[CARDS[name]]
    with torch.device("meta"):  # names and shapes of the real width
        model = build_backbone(card.arch, card.input_size, args={**card.arch_args, "depth": DEPTH})
        state = {
            **published.write(dict(model.state_dict())),
            **dict.fromkeys(published.beside, torch.rand(3)),
        }
        target = TargetModel(card.arch, model, classifier_names(card.arch))
        found = derive_key_map(state, target, card.excused, card.layout, name)
    assert found.left == published.beside and len(found.slots) == len(model.state_dict())


TABLES = ("transformers' ViT", "transformers' SigLIP", "open_clip, own transformer", "DINOv2",
          "DINOv2 with registers and SwiGLU")  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_position_table_of_another_size_is_kept_resampled_and_said(name: str, tmp_path: Path) -> None:
    published = PUBLISHED[name]
    model = source(published, img_size=48)
    args = {key: value for key, value in {**SMALL, **published.args}.items() if key != "img_size"}
    card = card_of(tmp_path / "weights.safetensors", file_of(published, model), args)
    loaded = load_backbone(card, published.arch, 48, seed=0)
    assert loaded.notes == ()  # used as it is stored
    torch.testing.assert_close(features(loaded.module, 48), features(model, 48), rtol=0, atol=1e-5)
    said = "its position table is of 6x6 tokens (48 px) and is resampled to 4x4 (32 px)"
    resampled = load_backbone(card, published.arch, SIDE, seed=0)
    assert resampled.notes == (said,) and features(resampled.module).isfinite().all()
    assert f"mednet: {said}." in preprocessing_warnings(card, published.arch, SIDE)
    table = resampled.module.state_dict()["pos_embed"]
    assert torch.equal(table, model.state_dict()["pos_embed"]), "the stored values are kept"


@pytest.mark.parametrize(("tokens", "args"), [(1 + 35, {}), (36, {}), (37, {"img_size": SIDE})])
def test_a_table_that_is_no_grid_or_whose_size_the_card_declares_is_refused(
    tokens: int, args: dict[str, ArchArg], tmp_path: Path
) -> None:
    published = PUBLISHED["DINOv2"]
    state = {**source(published).state_dict(), "pos_embed": torch.rand(1, tokens, WIDTH)}
    small = {key: value for key, value in SMALL.items() if key != "img_size"}
    card = card_of(tmp_path / "weights.safetensors", state, {**small, **args})
    with pytest.raises(UserError, match=rf"1 of another shape \(pos_embed \(1, {tokens}, {WIDTH}\)"):
        load_backbone(card, published.arch, SIDE, seed=0)


def test_inspection_finds_layout_arch_and_the_size_of_the_table(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = build_backbone("vit_tiny_patch16_224", 96, args={"img_size": 96}).state_dict()
    file = tmp_path / "weights.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in hf_vit(state).items()}, file)
    found = inspect_checkpoint(file)
    assert (found.arch, found.names.layout, found.image_size) == ("vit_tiny_patch16_224", "huggingface", 96)
    assert found.draft().arch_args == {"img_size": 96}
