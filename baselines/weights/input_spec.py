"""The input contract, compared with what the first batch norm remembers of the images of the pretraining.

A first convolution is linear, and the batch norm behind it keeps mean and variance of its output over the
whole pretraining. Its means are, but for the zeros at the border, the sums of the filters over their places
times the mean of each input channel: as many equations as filters for three unknowns. Solved for them, they
say how bright each channel was to the network; divided by the contract, how bright the images were. With
ImageNet's weights of EfficientNet-Lite0, 1 and 2 three channels explain 99.98 % of the means, and the
difference of two channels has a standard error of 0.0002 of white. The variances say how strong the contrast
was: they are compared with those that pictures of now give.

Three errors are seen: inputs about 255 times too small, or too large; and red and blue swapped. Not seen are
smaller errors of scale: gray chest X-rays have a fifth of the contrast of stained tissue, and the contracts
(0.5, 0.5) and ImageNet's differ by no more than a factor of 2.2. Not seen either are swapped channels of
weights that saw gray images or stained tissue (whose red and blue are about equal), and of weights whose
card declares the mean color of ImageNet in the wrong order too. Networks whose first convolution is not
followed by batch norm cannot be checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ..init import InputSpec
from .probe_images import probe_images
from .stem_stats import first_layers, input_means

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

PROBES = 8
FACTOR = 16.0
"""sqrt(255): from here on the contrast is nearer to one that is 255 times wrong than to the right one.
Measured over ImageNet's EfficientNet-Lite0 and 1 and 7 MedNets made here, each with photographs, our pictures
and BreastMNIST, PneumoniaMNIST and RetinaMNIST (28 px) at 64 px: 0.22 to 1.5 where the contract is right, 52
and more where inputs are 255 times too large, 0.0053 and less where they are too small."""
SWAPPED = 0.01
"""By how much of white blue must have been brighter than red. Red is so in photographs (by 0.037, as
ImageNet's weights of EfficientNet-Lite say; gray images: 0.001), skin, blood and eyes, with green between or
little below. Stained tissue may be of either kind; it is told by a green below both by more than `GREEN`."""
GREEN = 0.05
COMMON: tuple[dict[str, object], ...] = (
    {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "value_range": 1},
    {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "value_range": 1},
    {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "value_range": 1},
    {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "value_range": 255},
)
"""Contracts of published weights: torchvision's, TensorFlow's, none, and raw bytes."""
EXPLAINED = 0.99
"""Least share of the first means that three channels must explain before anything is read off them."""


@dataclass(frozen=True)
class InputEvidence:
    """What the first batch norm says of an input contract.

    Attributes:
        checked: False where the network has no batch norm behind its first convolution.
        contrast: of the pictures under the contract, over that of the pretraining; 1 is right.
        means: of the images of the pretraining if the contract is right, per channel in the network's order;
            0 is black and 1 white; () where they cannot be told.
        explained: share of the batch norm's means that three channel means explain.
        warnings: sentences, none where the contract fits.
    """

    checked: bool
    contrast: float = 1.0
    means: tuple[float, ...] = ()
    explained: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        """The evidence in one line."""
        if not self.checked:
            return "cannot be checked: no batch norm stands behind the first convolution"
        told = f"contrast {self.contrast:.2g} times that of the pretraining"
        if not self.means:
            return f"{told}; channel means cannot be told"
        means = ", ".join(f"{mean:.3f}" for mean in self.means)
        gray = max(self.means) - min(self.means) < SWAPPED
        return f"{told}; the pretraining's channel means {means} of white" + (
            ": as good as gray, so that the order of channels cannot be told" if gray else ""
        )


def check_input_spec(
    backbone: nn.Module, contract: InputSpec, input_size: int, images: NDArray[np.uint8] | None = None
) -> InputEvidence:
    """Compare a contract with what the first batch norm remembers.

    Args:
        backbone: with its weights, on the CPU; only its first layers are run.
        contract: as declared.
        input_size: side in pixels of what the network sees.
        images: uint8 [n, 1 or 3, h, w]; generated pictures by default.
    """
    import torch

    from .prepare import InputPreparation

    shown = torch.from_numpy(probe_images(PROBES, input_size) if images is None else images)
    first = first_layers(backbone, InputPreparation(contract, input_size)(shown))
    if first is None:
        return InputEvidence(checked=False)
    inputs, explained = input_means(first)
    means = tuple(_of_white(inputs, contract)) if explained >= EXPLAINED else ()
    found = InputEvidence(True, first.contrast, means, explained)
    if not 1 / FACTOR < found.contrast < FACTOR:
        others = (
            other
            for other in _others(contract)
            if (seen := first_layers(backbone, InputPreparation(other, input_size)(shown)))
            and 1 / FACTOR < seen.contrast < FACTOR
            and _possible(_of_white(inputs, other))
        )
        return replace(found, warnings=(_wrong_scale(found.contrast, next(others, None)),))
    return replace(found, warnings=tuple(_doubts(found, contract)))


def _of_white(inputs: NDArray[np.float64], contract: InputSpec) -> NDArray[np.float64]:
    """Turn means of the network's inputs [3] into means of images, where white is 1."""
    return (inputs * contract.std + contract.mean) / contract.value_range


def _possible(means: NDArray[np.float64] | tuple[float, ...]) -> bool:
    """Whether images can have these means; the zeros at the border shift them a little."""
    return bool(np.min(means) > -0.05 and np.max(means) < 1.05)


def _others(contract: InputSpec) -> list[InputSpec]:
    """Return the contracts that may have been meant, likelier ones first."""
    range_ = 255 if contract.value_range == 1 else 1
    up = contract.value_range / range_  # mean and std that were written for the other range
    flipped = msgspec.structs.replace(contract, value_range=range_)
    scaled = [
        msgspec.structs.replace(
            contract,
            mean=tuple(factor * mean for mean in contract.mean),
            std=tuple(factor * std for std in contract.std),
        )
        for factor in (1 / up, up)
    ]
    return [flipped, *scaled, *(msgspec.structs.replace(contract, **facts) for facts in COMMON)]


def _wrong_scale(contrast: float, other: InputSpec | None) -> str:
    size = (
        f"about {1 / max(contrast, 1e-6):.0f} times too small"
        if contrast < 1
        else f"about {contrast:.0f} times too large"
    )
    cure = (
        f"the contract that fits is {format_input_spec(other)}"
        if other
        else "correct mean, std and value_range"
    )
    return f"its inputs are {size} for what its first batch norm remembers: {cure}"


def format_input_spec(contract: InputSpec) -> str:
    """Return the numbers of a contract in one line."""
    mean, std = (
        ", ".join(f"{number:.4g}" for number in numbers) for numbers in (contract.mean, contract.std)
    )
    return f"mean [{mean}], std [{std}], {contract.channels}, value_range {contract.value_range}"


def _doubts(found: InputEvidence, contract: InputSpec) -> Iterator[str]:
    """Yield what the channel means say against a contract of the right scale."""
    if not found.means:
        return
    if not _possible(found.means):
        yield (
            "its first batch norm remembers channels that no image has under this contract ("
            f"{', '.join(f'{mean:.2f}' for mean in found.means)} of white): correct mean, std and value_range"
        )
        return
    red, green, blue = found.means if contract.channels == "rgb" else found.means[::-1]
    if blue - red > SWAPPED and green > red - GREEN:
        right = "bgr" if contract.channels == "rgb" else "rgb"
        yield (
            f"its first batch norm remembers blue ({blue:.3f} of white) as brighter than red ({red:.3f}), so "
            f"that red and blue are probably swapped: try channels = '{right}'"
        )
