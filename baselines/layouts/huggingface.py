"""`huggingface`: vision transformers as `transformers` saves them: ViT, DINOv2, CLIP, SigLIP.

They keep query, key and value apart; timm joins them. SigLIP's pooling joins them, and timm keeps the query
apart. DINOv2 with registers adds a position to the class token, which timm stores as one tensor.
"""

import re
from collections.abc import Sequence

from ..weights.layout import LAYOUTS, LayoutMap, TargetModel, TensorSlot, excused_kinds, rename_by_rules

ROOTS = ("", "vit.", "dinov2.", "dinov2_with_registers.", "vision_model.")
STEMS = ("embeddings.patch_embeddings.projection.weight", "embeddings.patch_embedding.weight")
"""ViT's and DINOv2's, and CLIP's and SigLIP's."""
QKV = {"query": 0, "key": 1, "value": 2, "q_proj": 0, "k_proj": 1, "v_proj": 2}
VIT_RULES = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^layernorm\.", "norm."),
    (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"^(blocks\.\d+\.)layernorm_before\.", r"\1norm1."),
    (r"^(blocks\.\d+\.)layernorm_after\.", r"\1norm2."),
    (r"^(blocks\.\d+\.)attention\.attention\.(query|key|value)\.", r"\1attn.qkv."),
    (r"^(blocks\.\d+\.)attention\.output\.dense\.", r"\1attn.proj."),
    (r"^(blocks\.\d+\.)(intermediate\.dense|mlp\.weights_in)\.", r"\1mlp.fc1."),
    (r"^(blocks\.\d+\.)(output\.dense|mlp\.weights_out)\.", r"\1mlp.fc2."),
    (r"^(blocks\.\d+\.)layer_scale([12])\.lambda1$", r"\1ls\2.gamma"),
)
CLIP_RULES = (
    (r"^embeddings\.class_embedding$", "cls_token"),
    (r"^embeddings\.position_embedding\.weight$", "pos_embed"),
    (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
    (r"^pre_layrnorm\.", "norm_pre."),
    (r"^post_layernorm\.", "norm."),
    (r"^encoder\.layers\.(\d+)\.", r"blocks.\1."),
    (r"^(blocks\.\d+\.)layer_norm([12])\.", r"\1norm\2."),
    (r"^(blocks\.\d+\.)self_attn\.[qkv]_proj\.", r"\1attn.qkv."),
    (r"^(blocks\.\d+\.)self_attn\.out_proj\.", r"\1attn.proj."),
    (r"^head\.probe$", "attn_pool.latent"),
    (r"^head\.attention\.in_proj_", "attn_pool.q."),
    (r"^head\.attention\.out_proj\.", "attn_pool.proj."),
    (r"^head\.layernorm\.", "attn_pool.norm."),
    (r"^head\.mlp\.", "attn_pool.mlp."),
)
LEADING_AXES = {"embeddings.class_embedding": 2, "embeddings.position_embedding.weight": 1}
EXCUSED = {
    r"pooler\.dense\.": "pooler",
    r"embeddings\.mask_token$": "mask token",
    r"embeddings\.position_ids$": "numbers of positions",
}
"""After the root."""
EXCUSED_OUTSIDE = {
    r"text_model\.": "text encoder",
    r"(visual|text)_projection\.": "projection",
    r"logit_(scale|bias)$": "scale of the loss",
    r"classifier\.": "classifier",
    r"decoder\.": "decoder",
}
TABLE = "embeddings.position_embeddings"
POOLING = "head.attention.in_proj_"
"""SigLIP's pooling: the first third of the rows is of the query."""


@LAYOUTS.register("huggingface")
def huggingface_names(names: Sequence[str], target: TargetModel) -> LayoutMap | None:
    """Map the vision transformers of `transformers`; pooler, mask token and text encoder are left over."""
    root = next((root for root in ROOTS if any(root + stem in names for stem in STEMS)), None)
    if root is None:
        return None
    inner = {name: name.removeprefix(root) for name in names if name.startswith(root)}
    slots = {name: _slot(inner[name]) if name in inner else TensorSlot(name) for name in names}
    second = {
        name: TensorSlot(f"attn_pool.kv.{short.removeprefix(POOLING)}", cut="key and value")
        for name, short in inner.items()
        if short.startswith(POOLING)
    }
    if f"{root}embeddings.register_tokens" in names and getattr(target.model, "no_embed_class", False):
        slots[root + TABLE] = TensorSlot("pos_embed", cut="grid positions")
        second[root + TABLE] = TensorSlot("cls_token", cut="class position")
    rules = {re.escape(root) + pattern: kind for pattern, kind in EXCUSED.items()}
    return LayoutMap(slots, excused_kinds(names, {**rules, **EXCUSED_OUTSIDE}), second)


def _slot(name: str) -> TensorSlot:
    """Return the place of a tensor named as after the root."""
    part = next((part for word, part in QKV.items() if f".{word}." in name), 0)
    renamed = rename_by_rules(rename_by_rules(name, VIT_RULES), CLIP_RULES)
    cut = "query" if name.startswith(POOLING) else ""
    return TensorSlot(renamed, part, LEADING_AXES.get(name, 0), cut)
