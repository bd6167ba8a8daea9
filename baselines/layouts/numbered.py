"""`numbered`: children of an `nn.Sequential`, as in RadImageNet's official PyTorch files.

`backbone.0` is ResNet-50's first convolution, `backbone.1` its batch norm, `backbone.4` to `.7` its stages;
DenseNet-121's `backbone.0` holds all of its features. Children without tensors are not in the file, so the
numbers are matched in order with the children that hold tensors.
"""

from collections.abc import Sequence

from ..weights.layout import LAYOUTS, LayoutMap, TargetModel, rename_map


@LAYOUTS.register("numbered")
def numbered_children(names: Sequence[str], target: TargetModel) -> LayoutMap | None:
    """Map numbered children to the network's in order; an extra last one is the classifier."""
    heads = {name.partition(".")[0] for name in names}
    if not all(head.isdigit() for head in heads):
        return None
    children = [name for name, child in target.model.named_children() if child.state_dict()]
    children += [name.rstrip(".") for name in target.classifier]
    # lengths differ where the file lacks the classifier, or is of another network: a tensor without a
    # counterpart keeps its name, and the account of all tensors refuses the map
    called = dict(zip(sorted(heads, key=int), children, strict=False))
    return rename_map({name: _rename_child(name, called) for name in names})


def _rename_child(name: str, called: dict[str, str]) -> str:
    head, dot, rest = name.partition(".")
    return called.get(head, head) + dot + rest
