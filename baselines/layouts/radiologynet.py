"""`radiologynet`: torchvision's networks as RadiologyNET saves them, in `model_state`.

By `usage/models.py` of github.com/AIlab-RITEH/RadiologyNET-TL-models (f2d4a70), ResNets and Inception are
under `model.`, DenseNet is there twice, bare and under `model.`, and EfficientNet is bare. Inception keeps
its second classifier.
"""

from collections.abc import Sequence
from dataclasses import replace

from ..weights.layout import LAYOUTS, LayoutMap, TargetModel, excused_kinds
from .timm_names import timm_names
from .torchvision_names import torchvision_names

CLASSIFIERS = {r"(fc|classifier)\.": "classifier", r"AuxLogits\.": "second classifier"}


@LAYOUTS.register("radiologynet")
def radiologynet_names(names: Sequence[str], target: TargetModel) -> LayoutMap | None:
    """Map torchvision's names; classifiers are left over by name."""
    found = torchvision_names(names, target) or timm_names(names, target)
    if found is None:
        return None
    return replace(found, excused=excused_kinds(names, CLASSIFIERS))
