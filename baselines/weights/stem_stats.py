"""The first convolution of a network, and what the batch norm behind it remembers of the pretraining."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

BORDER = 3
"""Places at each edge that are left out: there, zeros beside a constant are contrast that no image has."""


@dataclass(frozen=True, eq=False)
class FirstLayers:
    """The first convolution and what the batch norm behind it remembers.

    Attributes:
        sums: of the filters over their places, [filters, 3].
        means: the batch norm's, less the convolution's bias, [filters].
        spreads: the batch norm's standard deviations, [filters].
        contrast: of the pictures shown: the median over filters of their spread over the batch norm's.
    """

    sums: NDArray[np.float64]
    means: NDArray[np.float64]
    spreads: NDArray[np.float64]
    contrast: float


class _ReachedError(Exception):
    """The first batch norm has been reached: nothing behind it has to be computed."""


def first_layers(backbone: nn.Module, inputs: Tensor) -> FirstLayers | None:
    """Show `inputs` [batch, 3, side, side]; None where no batch norm takes the first convolution's output."""
    import torch
    from torch import nn

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
    return _remembered(conv, norm, output)


def _remembered(conv: nn.Conv2d, norm: nn.BatchNorm2d, output: Tensor) -> FirstLayers:
    """Collect what the batch norm knows, of filters that are not dead."""
    variances = norm.running_var.double()  # type: ignore[union-attr]
    alive = (variances > 1e-4 * variances.median()).numpy()
    bias = 0 if conv.bias is None else conv.bias.detach().double()
    spreads = variances.sqrt().numpy()[alive]
    if min(output.shape[2:]) > 4 * BORDER:
        output = output[:, :, BORDER:-BORDER, BORDER:-BORDER]
    seen = output.double().transpose(0, 1).flatten(1).std(dim=1).numpy()[alive]
    return FirstLayers(
        sums=conv.weight.detach().double().sum(dim=(2, 3)).numpy()[alive],
        means=(norm.running_mean.double() - bias).numpy()[alive],  # type: ignore[union-attr]
        spreads=spreads,
        contrast=float(np.median(seen / spreads)),
    )


def input_means(first: FirstLayers) -> tuple[NDArray[np.float64], float]:
    """Solve for the channel means [3] of the pretraining's inputs; with the share of the means explained."""
    left, right = first.sums / first.spreads[:, None], first.means / first.spreads
    means: NDArray[np.float64] = np.linalg.lstsq(left, right, rcond=None)[0].astype(np.float64)
    whole = float(right @ right)
    rest = right - left @ means
    return means, 1 - float(rest @ rest) / whole if whole else 0.0
