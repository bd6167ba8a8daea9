"""`torchxrayvision`: DenseNet-121 and ResNet-50 with one input channel, under torchvision's names.

By `models.py` of github.com/mlmed/torchxrayvision (f4087a0). DenseNets are pickled modules, the ResNet a
state dict; a saved module has its ResNet under `model.`. Some hold the thresholds of their outputs.
"""

from collections.abc import Sequence

from ..weights.layout import LAYOUTS, LayoutMap, TargetModel, excused_kinds, rename_map

SIGNS = ("features.denseblock1.", "model.layer1.", "layer1.")
EXCUSED = {
    r"(model\.)?op_threshs": "thresholds of the outputs",
    r"(model\.)?(classifier|fc)\.": "classifier",
}


@LAYOUTS.register("torchxrayvision")
def torchxrayvision_names(names: Sequence[str], target: TargetModel) -> LayoutMap | None:
    """Map torchvision's names, bare or under `model.`; classifier and thresholds are left over by name."""
    if not any(name.startswith(SIGNS) for name in names):
        return None
    return rename_map({name: name.removeprefix("model.") for name in names}, excused_kinds(names, EXCUSED))
