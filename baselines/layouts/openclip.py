"""`openclip`: image-text models of open_clip and OpenAI, of which the image encoder is taken.

Under `visual.trunk.` the image encoder is timm's; under `visual.` it is open_clip's own vision transformer,
which timm has as `vit_*_clip_*`. Whether its activation is QuickGELU stands in no tensor: the arch says it.
"""

from collections.abc import Sequence

from ..weights.layout import LAYOUTS, LayoutMap, TargetModel, TensorSlot, excused_kinds, rename_by_rules

TRUNK = "visual.trunk."
OWN = "visual."
RULES = (
    (r"^class_embedding$", "cls_token"),
    (r"^positional_embedding$", "pos_embed"),
    (r"^conv1\.", "patch_embed.proj."),
    (r"^ln_pre\.", "norm_pre."),
    (r"^ln_post\.", "norm."),
    (r"^transformer\.resblocks\.(\d+)\.", r"blocks.\1."),
    (r"^(blocks\.\d+\.)ln_([12])\.", r"\1norm\2."),
    (r"^(blocks\.\d+\.)ls_([12])\.", r"\1ls\2."),
    (r"^(blocks\.\d+\.)attn\.in_proj_", r"\1attn.qkv."),
    (r"^(blocks\.\d+\.)attn\.out_proj\.", r"\1attn.proj."),
    (r"^(blocks\.\d+\.)mlp\.c_fc\.", r"\1mlp.fc1."),
    (r"^(blocks\.\d+\.)mlp\.c_proj\.", r"\1mlp.fc2."),
)
LEADING_AXES = {"class_embedding": 2, "positional_embedding": 1}
EXCUSED = {
    r"visual\.(head\.|proj$)": "projection",
    r"(text|transformer|token_embedding|ln_final)\.": "text encoder",
    r"(positional_embedding|text_projection|attn_mask)$": "text encoder",
    r"logit_(scale|bias)$": "scale of the loss",
    r"(input_resolution|context_length|vocab_size)$": "setting",
}
"""The text encoder is under `text.` in open_clip, and without a prefix in OpenAI's and older files."""


@LAYOUTS.register("openclip")
def openclip_names(names: Sequence[str], target: TargetModel) -> LayoutMap | None:
    """Map the image encoder of an image-text model; the text encoder and projections are left over."""
    if any(name.startswith(TRUNK) for name in names):
        slots = {name: TensorSlot(name.removeprefix(TRUNK)) for name in names}
    elif "visual.class_embedding" in names:
        slots = {name: _own_slot(name) for name in names}
    else:
        return None
    return LayoutMap(slots, excused_kinds(names, EXCUSED))


def _own_slot(name: str) -> TensorSlot:
    if not name.startswith(OWN):
        return TensorSlot(name)
    inner = name.removeprefix(OWN)
    return TensorSlot(rename_by_rules(inner, RULES), axes=LEADING_AXES.get(inner, 0))
