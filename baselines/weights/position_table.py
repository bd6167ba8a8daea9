"""Position tables of vision transformers that are stored for another image size than the arch's own.

The network is then built for the size of the file, so that every stored value is kept, and timm resamples the
table to the input size in the forward pass, as for any other input size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from timm.models.vision_transformer import VisionTransformer

from .layout import TargetModel
from .layout_derive import KeyMap, candidate_maps, derive_key_map

if TYPE_CHECKING:
    from torch import Tensor, nn

TABLE = "pos_embed"


def match_file(
    tensors: Mapping[str, Tensor],
    target: TargetModel,
    build: Callable[[int], nn.Module] | None,
    excused: Sequence[str],
    layout: str,
    origin: str,
) -> tuple[TargetModel, KeyMap, int]:
    """Find the map of a file's tensors, and the network that its position table fits.

    Args:
        tensors: by name in the file.
        target: the network with the arch's own table.
        build: builds it for another image size in pixels; None to refuse another table.
        excused, layout, origin: as in `derive_key_map`.

    Returns:
        The network, the map, and the image size of its table in pixels if it was built anew, else 0.

    Raises:
        UserError: as `derive_key_map`.
    """
    size = 0
    if build and not _has_own_table(tensors, target.model):
        size = stored_image_size(candidate_maps(tensors, target, excused, layout), tensors, target.model)
        target = replace(target, model=build(size)) if size else target
    return target, derive_key_map(tensors, target, excused, layout, origin), size


def _has_own_table(tensors: Mapping[str, Tensor], model: nn.Module) -> bool:
    """Whether the network has no table, or a tensor has its shape, or one more token, under any name."""
    if not isinstance(model, VisionTransformer) or model.pos_embed is None:
        return True
    tokens, width = model.pos_embed.shape[1:]
    own = ((tokens, width), (tokens + 1, width))
    return any(tensor.ndim in (2, 3) and tuple(tensor.shape[-2:]) in own for tensor in tensors.values())


def stored_image_size(maps: Iterable[KeyMap], tensors: Mapping[str, Tensor], model: nn.Module) -> int:
    """Return the image size in pixels for which a file's position table was made; 0 if it is none.

    A table counts only where it is the one tensor that does not fit `model`, and where it is known to be a
    square grid: [1, tokens, width] with the model's own tokens of class and registers first.
    """
    if not isinstance(model, VisionTransformer) or model.pos_embed is None:
        return 0
    patch = model.patch_embed.patch_size
    for found in maps:
        shapes = found.account.shapes
        if found.account.faults != 1 or not shapes or not shapes[0].startswith(f"{TABLE} "):
            continue
        table = found.convert(tensors)[TABLE]
        side = grid_side(table, model)
        if side and table.shape[2] == model.pos_embed.shape[2] and patch[0] == patch[1]:
            return side * patch[0]
    return 0


def grid_side(table: Tensor, model: VisionTransformer) -> int:
    """Return the tokens along a side of a position table's square grid; 0 if it is none."""
    tokens = table.shape[1] - prefix_tokens(model) if table.ndim == 3 and len(table) == 1 else 0
    side = math.isqrt(max(tokens, 0))
    return side if side * side == tokens else 0


def prefix_tokens(model: VisionTransformer) -> int:
    """Return the number of positions in the table that are not of the grid: class and registers."""
    return 0 if model.no_embed_class else model.num_prefix_tokens


def resampling_note(model: nn.Module, image_size: int, input_size: int) -> str:
    """Describe how a table for `image_size` is used at `input_size`, both in pixels; "" if as stored."""
    patch = model.patch_embed.patch_size[0]  # type: ignore[union-attr]
    stored, used = image_size // patch, math.ceil(input_size / patch)
    if stored == used:
        return ""
    return (
        f"its position table is of {stored}x{stored} tokens ({image_size} px) and is resampled to "
        f"{used}x{used} ({input_size} px)"
    )
