"""`dinov2`: files of DINO, iBOT and DINOv2, and of their trainings with teacher, student and heads.

Names are timm's but for chunks of blocks (`blocks.0.3.` is block 3), registers and SwiGLU. Of a training that
holds both networks the teacher is taken, which the authors evaluate.
"""

import re
from collections.abc import Sequence

from ..weights.layout import LAYOUTS, LayoutMap, TargetModel, TensorSlot, excused_kinds, rename_by_rules

OUTER = r"((?P<network>teacher|student)\.)?((module|backbone|_fsdp_wrapped_module)\.)*"
ROOT = re.compile(rf"(?P<root>{OUTER})(cls_token|conv1\.weight)")
"""The first tensor of a vision transformer or of a residual network."""
MARK = re.compile(
    r"(^|\.)(mask_token$|masked_embed$|register_tokens$|blocks\.\d+\.(\d+\.|mlp\.w12\.))"
    r"|(^|\.)(dino_|ibot_)?head\.(mlp|last_layer)\.|^(teacher|student)\."
)
"""What a file of timm has not."""
RULES = (
    (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."),
    (r"^(blocks\.\d+\.mlp\.)w12\.", r"\1fc1."),
    (r"^(blocks\.\d+\.mlp\.)w3\.", r"\1fc2."),
    (r"^register_tokens$", "reg_token"),
)
EXCUSED = {
    rf"{OUTER}(dino_|ibot_)?head\.(mlp|last_layer)\.": "projection head",
    r"(dino_loss|ibot_patch_loss|ibot_loss)\.": "center of the loss",
}


@LAYOUTS.register("dinov2")
def dinov2_names(names: Sequence[str], target: TargetModel) -> LayoutMap | None:
    """Map the teacher, or the only network; mask token, heads and the student are left over."""
    found = [match for match in map(ROOT.fullmatch, names) if match]
    if not found or not any(map(MARK.search, names)) or any(name.startswith("decoder_") for name in names):
        return None
    chosen = next((match for match in found if match["network"] == "teacher"), found[0])
    root = chosen["root"]
    inside = [name for name in names if name.startswith(root)]
    slots = {name: TensorSlot(name) for name in names}
    slots |= {name: TensorSlot(rename_by_rules(name.removeprefix(root), RULES)) for name in inside}
    second: dict[str, TensorSlot] = {}
    if f"{root}register_tokens" in names and getattr(target.model, "no_embed_class", False):
        slots[f"{root}pos_embed"] = TensorSlot("pos_embed", cut="grid positions")
        second[f"{root}pos_embed"] = TensorSlot("cls_token", cut="class position")
    rules = {**EXCUSED, re.escape(root) + "(mask_token|masked_embed)$": "mask token"}
    if chosen["network"] == "teacher":
        rules[r"student\."] = "student"
    return LayoutMap(slots, excused_kinds(names, rules), second)
