"""`numbered`: children of a network in `nn.Sequential`, as the official RadImageNet files for PyTorch are.

`backbone.0` is ResNet-50's first convolution, `backbone.1` its batch norm, `backbone.4` to `.7` its stages;
DenseNet-121's `backbone.0` is all of its features. Children without tensors are not in the file, and so the
numbers that occur are matched in order with the children that hold tensors.
"""

from collections.abc import Sequence

from ..weights.layout import LAYOUTS, TargetModel


@LAYOUTS.register("numbered")
def numbered_children(names: Sequence[str], target: TargetModel) -> dict[str, str] | None:
    """Give numbered children the network's own names, in order; a last one too many is the classifier."""
    heads = {name.partition(".")[0] for name in names}
    if not all(head.isdigit() for head in heads):
        return None
    children = [name for name, child in target.model.named_children() if child.state_dict()]
    children += [name.rstrip(".") for name in target.classifier]
    # of other lengths where the classifier is not in the file, or the network is another one: then a tensor
    # keeps its name, and the account of all tensors refuses the map
    called = dict(zip(sorted(heads, key=int), children, strict=False))
    return {name: _renamed(name, called) for name in names}


def _renamed(name: str, called: dict[str, str]) -> str:
    head, dot, rest = name.partition(".")
    return called.get(head, head) + dot + rest
