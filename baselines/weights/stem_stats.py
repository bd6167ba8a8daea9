"""Statistics of a network's first convolution and of the batch norm after it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

BORDER = 3
"""Pixels at each edge that are ignored: zero padding beside a constant is contrast that no image has."""


@dataclass(frozen=True, eq=False)
class StemStats:
    """Statistics of the first convolution and of the batch norm after it, without dead filters.

    Attributes:
        sums: of the filters over their positions, [filters, 3].
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
    """Run the stem on [batch, 3, side, side]; None where no batch norm follows the first convolution."""
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
    """Return the channel means [3] of the pretraining's inputs, and the share of `means` they explain."""
    left, right = first.sums / first.spreads[:, None], first.means / first.spreads
    means: NDArray[np.float64] = np.linalg.lstsq(left, right, rcond=None)[0].astype(np.float64)
    whole = float(right @ right)
    rest = right - left @ means
    return means, 1 - float(rest @ rest) / whole if whole else 0.0
