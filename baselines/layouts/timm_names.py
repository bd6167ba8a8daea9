"""`timm`: the network's own names, which torchvision's ResNets and Inception share."""

from collections.abc import Sequence

from ..weights.layout import LAYOUTS, LayoutMap, TargetModel, rename_map


@LAYOUTS.register("timm")
def timm_names(names: Sequence[str], target: TargetModel) -> LayoutMap | None:
    """Keep every name; the layout of last resort, so that an error can name both sides."""
    return rename_map({name: name for name in names})
