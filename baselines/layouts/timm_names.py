"""`timm`: the network's own names, which torchvision's ResNets and Inception share."""

from collections.abc import Sequence

from ..weights.layout import LAYOUTS, TargetModel


@LAYOUTS.register("timm")
def timm_names(names: Sequence[str], target: TargetModel) -> dict[str, str] | None:
    """Keep every name; the layout of last resort, so that an error can name both sides."""
    return {name: name for name in names}
