"""`benchx`: image encoders of the image-text methods that BenchX trained again on MIMIC-CXR.

Each method keeps its own names, which are those of its code in github.com/yangzhou12/BenchX (b874fa6,
`configs/_base_/models` and `unifier/models`); the files themselves were not read, so the cards list the
layout as recalled. A file holds the text encoder and the projectors beside the image encoder; these are left
over by name, and anything else is refused. MedKLIP has no fourth stage, so that no network of timm fits it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..weights.layout import LAYOUTS, LayoutMap, TargetModel, TensorSlot, excused_kinds, rename_by_rules

TEXT, PROJECTOR, DECODER, ATTENTION = "text encoder", "projector", "decoder", "attention to the text"


@dataclass(frozen=True)
class ImageTextMethod:
    """Names of one method.

    Attributes:
        encoder: prefix of the image encoder.
        sign: prefix that only this method has.
        excused: prefix of other tensors -> what they are.
    """

    encoder: str
    sign: str
    excused: Mapping[str, str]


METHODS = (
    ImageTextMethod(  # ConVIRT
        "visual.model.",
        "visual.model.",
        {"linguistic.": TEXT, "vis_proj.": PROJECTOR, "lin_proj.": PROJECTOR},
    ),
    ImageTextMethod(  # GLoRIA
        "gloria.img_encoder.model.",
        "gloria.img_encoder.model.",
        {
            "gloria.img_encoder.global_embedder.": PROJECTOR,
            "gloria.img_encoder.local_embedder.": PROJECTOR,
            "gloria.text_encoder.": TEXT,
        },
    ),
    ImageTextMethod(  # MGCA
        "img_encoder_q.model.",
        "img_encoder_q.model.",
        {
            "img_encoder_q.global_embed.": PROJECTOR,
            "img_encoder_q.local_embed.": PROJECTOR,
            "text_encoder_q.": TEXT,
            "patch_local_atten_layer.": ATTENTION,
            "word_local_atten_layer.": ATTENTION,
            "prototype_layer.": "prototypes",
        },
    ),
    ImageTextMethod(  # M-FLAG
        "encoder.", "proj_v.", {"lm_model.": TEXT, "proj_v.": PROJECTOR, "proj_t.": PROJECTOR}
    ),
    ImageTextMethod(  # MRM, a masked autoencoder with a text encoder
        "",
        "bert_encoder.",
        {
            "bert_encoder.": TEXT,
            "bert_mlp.": PROJECTOR,
            "mask_token": DECODER,
            "decoder_embed.": DECODER,
            "decoder_pos_embed": DECODER,
            "decoder_blocks.": DECODER,
            "decoder_norm.": DECODER,
            "decoder_pred.": DECODER,
        },
    ),
    ImageTextMethod(  # REFERS
        "visual.vit.transformer.",
        "visual.vit.transformer.",
        {
            "fusion.": ATTENTION,
            "contrastive_bert.": TEXT,
            "textual.": DECODER,
            "backward_textual.": DECODER,
        },
    ),
    ImageTextMethod("transformer.", "transformer.embeddings.", {"head.": "classifier"}),  # REFERS' ViT alone
)
REFERS_RULES = (
    (r"^embeddings\.patch_embeddings\.", "patch_embed.proj."),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^encoder\.encoder_norm\.", "norm."),
    (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"^(blocks\.\d+\.)attention_norm\.", r"\1norm1."),
    (r"^(blocks\.\d+\.)ffn_norm\.", r"\1norm2."),
    (r"^(blocks\.\d+\.)ffn\.", r"\1mlp."),
    (r"^(blocks\.\d+\.)attn\.out\.", r"\1attn.proj."),
)
"""Names of REFERS' ViT, after jeonsworld/ViT-pytorch, in timm's."""
QKV = re.compile(r"\.attn\.(query|key|value)\.")


@LAYOUTS.register("benchx")
def benchx_names(names: Sequence[str], target: TargetModel) -> LayoutMap | None:
    """Map a method's image encoder; text encoder and projectors are left over by name."""
    method = next((each for each in METHODS if any(name.startswith(each.sign) for name in names)), None)
    if method is None:
        return None
    excused = excused_kinds(names, {re.escape(prefix): kind for prefix, kind in method.excused.items()})
    inner = {name: name.removeprefix(method.encoder) for name in names if name.startswith(method.encoder)}
    return LayoutMap({name: _place(inner.get(name, name)) for name in names}, excused)


def _place(name: str) -> TensorSlot:
    name = rename_by_rules(name, REFERS_RULES)
    if part := QKV.search(name):
        name = QKV.sub(".attn.qkv.", name)
        return TensorSlot(name, ("query", "key", "value").index(part[1]))
    return TensorSlot(name)
