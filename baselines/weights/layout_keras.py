"""Networks converted from Keras, such as a port of RadImageNet's ResNet-50: recognized, and refused.

Keras' ResNet-50 has convolutions with bias, halves the side in the first 1x1 convolution of a block where
torchvision and timm do so in the 3x3 one, and adds 1.001e-5 in batch norm. Its tensors have the shapes of
timm's, so that a loader that drops the biases would go through, and compute something else.
"""

import re
from collections.abc import Iterable

KERAS_NAME = re.compile(r"(^|\W)(conv\d_block\d+_(\d_)?(conv|bn)|batch_normalization(_\d+)?|moving_mean)\b")
BIASED = re.compile(r"layer1\.0\.conv\d\.bias$|(^|\.)4\.0\.conv\d\.bias$")
"""A residual block whose convolutions have a bias; those of torchvision and timm never do."""


def refusal(names: Iterable[str]) -> str:
    """Say why these weights cannot be taken, or "" where they are not from Keras."""
    if not any(KERAS_NAME.search(name) or BIASED.search(name) for name in names):
        return ""
    return (
        "they are converted from Keras, whose networks are not timm's: convolutions with bias, the stride on "
        "the first 1x1 convolution of a block, and batch norm with epsilon 1.001e-5; take the weights that "
        "were trained in PyTorch"
    )
