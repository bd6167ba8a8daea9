"""Debiased linear CKA of each stage's features before and after a fine-tuning.

Centered kernel alignment compares the similarities between images in two feature spaces (Kornblith et al.
2019): 1 is equal up to rotation and scale, 0 is unrelated. The usual estimate is biased towards 1 where there
are more features than images; this one uses U-centered matrices (Szekely and Rizzo 2014; HSIC_1 of Song et
al. 2012), which removes the bias, and may be negative.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ...baselines.weights.stages import stages
from ..schema.records import StageSimilarity
from .model import outputs_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...baselines.weights.prepare import InputPreparation

SIMILARITY_IMAGES = 80
"""Two forward passes of them cost below 2 % of the shortest training of the default recipe."""
UNITS = 8192
"""Most outputs of a stage that are compared; of more, a fixed random sample."""
FEWEST_SIMILAR = 4
"""Least number of images for which the debiased estimate is defined."""

Gram = NDArray[np.float64]


def similarity_images(images: Tensor, rows: NDArray[np.int64]) -> Tensor:
    """Return a fixed random sample of at most `SIMILARITY_IMAGES` of these rows of images."""
    places = np.sort(np.random.default_rng(0).permutation(len(rows))[:SIMILARITY_IMAGES])
    return images[torch.from_numpy(rows[places]).to(images.device)]


def gram_matrices(backbone: nn.Module, prepare: InputPreparation, images: Tensor) -> dict[str, Gram]:
    """Return the centered Gram matrix [n, n] of the features of every stage, in order.

    The network and torch's random generators do not change.

    Args:
        backbone: on the device, in eval mode.
        prepare: the input contract.
        images: as stored, [n, 1 or 3, h, w] on the device; fewer than `FEWEST_SIMILAR` give an empty dict.
    """
    if len(images) < FEWEST_SIMILAR:
        return {}
    modules = dict(backbone.named_modules())
    outputs: dict[str, list[Tensor]] = {stage.name: [] for stage in stages(backbone)}
    hooks = [
        modules[name].register_forward_hook(functools.partial(_keep_units, into))
        for name, into in outputs.items()
    ]
    try:
        outputs_of(backbone, prepare, images)
    finally:
        for hook in hooks:
            hook.remove()
    # the last rows: where memory was short, the batches of a failed attempt come first
    return {name: center_gram(torch.cat(parts)[-len(images) :]) for name, parts in outputs.items() if parts}


def similarities(before: dict[str, Gram], after: dict[str, Gram]) -> tuple[StageSimilarity, ...]:
    """Compare the Gram matrices of the same images, stage by stage."""
    return tuple(
        StageSimilarity(stage=name, cka=linear_cka(before[name], after[name]), images=len(before[name]))
        for name in before
    )


def center_gram(features: Tensor) -> Gram:
    """Return the U-centered Gram matrix [n, n] of features [n, units]; its diagonal is 0."""
    features = features.float()
    features = features - features.mean(dim=0)  # reduces rounding errors only
    gram = (features @ features.T).cpu().double().numpy()
    np.fill_diagonal(gram, 0)
    n, sums = len(gram), gram.sum(axis=0)
    gram += sums.sum() / ((n - 1) * (n - 2)) - (sums[:, None] + sums[None, :]) / (n - 2)
    np.fill_diagonal(gram, 0)
    return gram


def linear_cka(a: Gram, b: Gram) -> float | None:
    """Return the debiased linear CKA of two centered Gram matrices; None for constant features."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / size if np.isfinite(size) and size > 0 else None


def _keep_units(
    into: list[Tensor], _module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]
) -> None:
    """Copy some units of a stage's output, which the next module may overwrite."""
    tensor = output if isinstance(output, torch.Tensor) else output[0]
    flat = tensor.flatten(1)
    into.append(flat[:, _sample_units(flat.shape[1], flat.device)])


@functools.lru_cache(maxsize=64)
def _sample_units(count: int, device: torch.device) -> Tensor:
    """Return the indices of the units that are compared, a random sample over all axes."""
    sample = np.random.default_rng(0).permutation(count)[:UNITS]
    return torch.from_numpy(np.sort(sample)).to(device)
