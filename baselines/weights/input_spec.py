"""Check of the input contract against the running statistics of the first batch norm.

A first convolution is linear, and the batch norm after it stores mean and variance of its output over the
whole pretraining. Apart from the zero padding, these means are the sums of the filters over their positions
times the mean of each input channel: one equation per filter for three unknowns. The solution is the mean of
each channel at the network's input, and by the contract that of the images. With ImageNet's weights of
EfficientNet-Lite0, 1 and 2 three channels explain 99.98 % of the means, and the difference of two channels
has a standard error of 0.0002 of white. The variances measure contrast and are compared with those of images
that are shown now.

Three errors are detected: inputs about 255 times too small or too large, and swapped red and blue. Smaller
errors of scale are not: gray chest X-rays have a fifth of the contrast of stained tissue, and the contracts
(0.5, 0.5) and ImageNet's differ by at most a factor of 2.2. Neither are swapped channels of weights that saw
gray images or stained tissue (red and blue are about equal), or whose card has ImageNet's mean color in the
wrong order too. A network without batch norm after its first convolution cannot be checked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import torch
from torch import nn

from ..init import InitCard, InputSpec
from .load import load_backbone
from .probe_images import probes_for

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

PROBES = 8
FACTOR = 16.0
"""About sqrt(255): a larger contrast is nearer to one that is 255 times wrong than to the right one.
Measured over ImageNet's EfficientNet-Lite0 and 1 and 7 MedNets, each with photographs, probe images and
BreastMNIST, PneumoniaMNIST and RetinaMNIST (28 px) at 64 px: 0.22 to 1.5 for the right contract, at least 52
for inputs 255 times too large, at most 0.0053 for inputs 255 times too small."""
SWAPPED = 0.01
"""Least excess of blue over red, in units of white, that counts as swapped. Red is brighter in photographs
(by 0.037 for ImageNet's EfficientNet-Lite; gray images: 0.001), skin, blood and eyes, with green between or
little below. In stained tissue either may be brighter; green is below both by more than `GREEN`."""
GREEN = 0.05
COMMON: tuple[dict[str, object], ...] = (
    {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "value_range": 1},
    {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "value_range": 1},
    {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "value_range": 1},
    {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "value_range": 255},
)
"""Contracts of published weights: torchvision's, TensorFlow's, 0..1, and raw bytes."""
CHEST_XRAY: dict[str, object] = {"mean": (0.5,) * 3, "std": (1 / 2048,) * 3, "value_range": 1}
"""Contract of TorchXRayVision's networks of one channel: -1024 to 1024."""
EXPLAINED = 0.99
"""Least share of the batch norm's means that three channels must explain for these to be used."""
BORDER = 3
"""Pixels at each edge that are ignored: zero padding beside a constant is contrast that no image has."""


@dataclass(frozen=True)
class InputEvidence:
    """Result of the check of an input contract.

    Attributes:
        checked: False where the network has no batch norm after its first convolution.
        contrast: of the images shown, over that of the pretraining images; 1 is right.
        means: of the pretraining images under the contract, per channel in the network's order, from 0 for
            black to 1 for white; () if undetermined.
        explained: share of the batch norm's means that three channel means explain.
        warnings: sentences, none where the contract fits.
    """

    checked: bool
    contrast: float = 1.0
    means: tuple[float, ...] = ()
    explained: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The evidence in one line."""
        if not self.checked:
            return "cannot be checked: no batch norm follows the first convolution"
        contrast = f"contrast {self.contrast:.2g} times that of the pretraining"
        if not self.means:
            return f"{contrast}; channel means cannot be determined"
        means = ", ".join(f"{mean:.3f}" for mean in self.means)
        gray = len(self.means) > 1 and max(self.means) - min(self.means) < SWAPPED
        suffix = ": nearly gray, so that the order of channels cannot be determined" if gray else ""
        return f"{contrast}; the pretraining's channel means {means} of white{suffix}"


def common_contracts(channels: str) -> tuple[dict[str, object], ...]:
    """Return the contracts of published weights for color networks, or for "gray" ones of one channel."""
    return (*COMMON, CHEST_XRAY) if channels == "gray" else COMMON


def check_input_spec(
    backbone: nn.Module, contract: InputSpec, input_size: int, images: NDArray[np.uint8] | None = None
) -> InputEvidence:
    """Compare a contract with the running statistics of the first batch norm.

    Args:
        backbone: with its weights, on the CPU; only its first layers are run.
        contract: as declared.
        input_size: in pixels, of the network's square input.
        images: uint8 [n, 1 or 3, h, w]; probe images by default.
    """
    from .prepare import InputPreparation

    probes = probes_for(contract.channels, PROBES, input_size) if images is None else images
    shown = torch.from_numpy(probes)
    first = measure_stem(backbone, InputPreparation(contract, input_size)(shown))
    if first is None:
        return InputEvidence(checked=False)
    inputs, explained = input_means(first)
    means = tuple(_image_means(inputs, contract)) if explained >= EXPLAINED else ()
    found = InputEvidence(True, first.contrast, means, explained)
    if not 1 / FACTOR < found.contrast < FACTOR:
        others = (
            other
            for other in _alternative_specs(contract)
            if (seen := measure_stem(backbone, InputPreparation(other, input_size)(shown)))
            and 1 / FACTOR < seen.contrast < FACTOR
            and _are_image_means(_image_means(inputs, other))
        )
        return replace(found, warnings=(_scale_warning(found.contrast, next(others, None)),))
    return replace(found, warnings=tuple(_channel_warnings(found, contract)))


def _image_means(inputs: NDArray[np.float64], contract: InputSpec) -> NDArray[np.float64]:
    """Convert means of the network's inputs [1 or 3] to means of images, where white is 1."""
    count = len(inputs)
    return (inputs * contract.std[:count] + contract.mean[:count]) / contract.value_range


def _are_image_means(means: NDArray[np.float64] | tuple[float, ...]) -> bool:
    """Whether images can have these means; zero padding shifts them a little."""
    return bool(np.min(means) > -0.05 and np.max(means) < 1.05)


def _alternative_specs(contract: InputSpec) -> list[InputSpec]:
    """Return the contracts that may have been meant, the likeliest first."""
    range_ = 255 if contract.value_range == 1 else 1
    up = contract.value_range / range_  # for mean and std in units of the other range
    flipped = msgspec.structs.replace(contract, value_range=range_)
    common = common_contracts(contract.channels)
    scaled = [
        msgspec.structs.replace(
            contract,
            mean=tuple(factor * mean for mean in contract.mean),
            std=tuple(factor * std for std in contract.std),
        )
        for factor in (1 / up, up)
    ]
    return [flipped, *scaled, *(msgspec.structs.replace(contract, **facts) for facts in common)]


def _scale_warning(contrast: float, other: InputSpec | None) -> str:
    factor, size = (1 / max(contrast, 1e-6), "small") if contrast < 1 else (contrast, "large")
    fit = f"the contract that fits is {format_input_spec(other)}" if other else ""
    cure = fit or "correct mean, std and value_range"
    scale = f"about {factor:.0f} times too {size}"
    return f"its inputs are {scale} for the statistics of its first batch norm: {cure}"


def format_input_spec(contract: InputSpec) -> str:
    """Return the numbers of a contract in one line."""
    count = 1 if contract.channels == "gray" else len(contract.mean)
    mean, std = (
        ", ".join(f"{number:.4g}" for number in numbers[:count]) for numbers in (contract.mean, contract.std)
    )
    return f"mean [{mean}], std [{std}], {contract.channels}, value_range {contract.value_range}"


def _channel_warnings(found: InputEvidence, contract: InputSpec) -> Iterator[str]:
    """Yield warnings if the channel means implied by the first batch norm do not fit `contract`.

    Its scale is assumed correct.
    """
    if not found.means:
        return
    if not _are_image_means(found.means):
        yield (
            "its first batch norm implies channel means that no image has under this contract ("
            f"{', '.join(f'{mean:.2f}' for mean in found.means)} of white): correct mean, std and value_range"
        )
        return
    if len(found.means) == 1:
        return
    red, green, blue = found.means if contract.channels == "rgb" else found.means[::-1]
    if blue - red > SWAPPED and green > red - GREEN:
        right = "bgr" if contract.channels == "rgb" else "rgb"
        yield (
            f"its first batch norm implies that blue ({blue:.3f} of white) is brighter than red ({red:.3f}), "
            f"so red and blue are probably swapped: try channels = '{right}'"
        )


@dataclass(frozen=True, eq=False)
class StemStats:
    """Statistics of the first convolution and of the batch norm after it, without dead filters.

    Attributes:
        sums: of the filters over their positions, [filters, 1 or 3].
        means: of the batch norm, less the convolution's bias, [filters].
        spreads: standard deviations of the batch norm, [filters].
        contrast: median over filters of the standard deviation on the images shown over the batch norm's.
    """

    sums: NDArray[np.float64]
    means: NDArray[np.float64]
    spreads: NDArray[np.float64]
    contrast: float


class _ReachedError(Exception):
    """Ends the forward pass at the first batch norm."""


def measure_stem(backbone: nn.Module, inputs: Tensor) -> StemStats | None:
    """Run the stem on [batch, 1 or 3, side, side]; None without batch norm after the convolution."""
    outputs: list[tuple[nn.Conv2d, Tensor]] = []
    norms: list[tuple[nn.BatchNorm2d, Tensor]] = []

    def leave(module: nn.Conv2d, _: object, output: Tensor) -> None:
        outputs.append((module, output))

    def enter(module: nn.BatchNorm2d, given: tuple[Tensor, ...]) -> None:
        norms.append((module, given[0]))
        raise _ReachedError

    modules = list(backbone.modules())
    hooks = [module.register_forward_hook(leave) for module in modules if isinstance(module, nn.Conv2d)]
    hooks += [
        module.register_forward_pre_hook(enter) for module in modules if isinstance(module, nn.BatchNorm2d)
    ]
    with torch.inference_mode(), contextlib.suppress(_ReachedError):
        backbone(inputs)
    for hook in hooks:
        hook.remove()
    if not outputs or not norms or norms[0][0].running_mean is None:
        return None
    (conv, output), (norm, given) = outputs[0], norms[0]
    if output is not given or conv.weight.shape[1] != inputs.shape[1]:
        return None
    return _collect_stats(conv, norm, output)


def _collect_stats(conv: nn.Conv2d, norm: nn.BatchNorm2d, output: Tensor) -> StemStats:
    """Collect the statistics of filters that are not dead."""
    variances = norm.running_var.double()  # type: ignore[union-attr]
    alive = (variances > 1e-4 * variances.median()).numpy()
    bias = 0 if conv.bias is None else conv.bias.detach().double()
    spreads = variances.sqrt().numpy()[alive]
    if min(output.shape[2:]) > 4 * BORDER:
        output = output[:, :, BORDER:-BORDER, BORDER:-BORDER]
    seen = output.double().transpose(0, 1).flatten(1).std(dim=1).numpy()[alive]
    return StemStats(
        sums=conv.weight.detach().double().sum(dim=(2, 3)).numpy()[alive],
        means=(norm.running_mean.double() - bias).numpy()[alive],  # type: ignore[union-attr]
        spreads=spreads,
        contrast=float(np.median(seen / spreads)),
    )


def input_means(first: StemStats) -> tuple[NDArray[np.float64], float]:
    """Return the channel means [1 or 3] of the pretraining's inputs, and their explained share."""
    left, right = first.sums / first.spreads[:, None], first.means / first.spreads
    means: NDArray[np.float64] = np.linalg.lstsq(left, right, rcond=None)[0].astype(np.float64)
    whole = float(right @ right)
    rest = right - left @ means
    return means, 1 - float(rest @ rest) / whole if whole else 0.0


@lru_cache(maxsize=64)  # every cell of an init asks again
def preprocessing_warnings(card: InitCard, arch: str, input_size: int) -> tuple[str, ...]:
    """Load the weights of a card strictly; return what was adapted, and warnings against its input contract.

    Args:
        card: an init with a file that was not made here; the contract of transformed weights is not checked,
            since their batch norms no longer describe the images of the pretraining.
        arch: timm architecture.
        input_size: side in pixels.

    Raises:
        UserError: as `load_backbone`.
    """
    backbone = load_backbone(card, arch, input_size, seed=0)
    adapted = tuple(f"{card.source.name}: {note}." for note in backbone.notes)
    if card.transform:
        return adapted
    found = check_input_spec(backbone.module, card.contract, input_size)
    return adapted + tuple(
        f"the input contract of {card.name} is in doubt: {warning}." for warning in found.warnings
    )
