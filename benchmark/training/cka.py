"""How much a fine-tuning changed the features of each stage: debiased linear CKA between before and after.

Centered kernel alignment compares two sets of features of the same images by how alike they make the images
(Kornblith et al. 2019): 1 is the same up to rotation and scale, 0 is unrelated. The usual estimate is close
to 1 for unrelated features where these are more than the images; this one is corrected for that (by the
U-centered matrices of Szekely and Rizzo 2014, which give HSIC_1 of Song et al. 2012) and may fall below 0.
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
"""So few that seeing them twice costs below 2 % of the shortest training of the default recipe."""
UNITS = 8192
"""Of a stage's outputs; of more, so many are drawn, always the same ones."""
FEWEST_SIMILAR = 4
"""Images below which the correction is not defined."""

Gram = NDArray[np.float64]


def similarity_images(images: Tensor) -> Tensor:
    """Return the images of a split that are compared: always the same, at most `SIMILARITY_IMAGES`."""
    rows = np.sort(np.random.default_rng(0).permutation(len(images))[:SIMILARITY_IMAGES])
    return images[torch.from_numpy(rows).to(images.device)]


def gram_matrices(backbone: nn.Module, prepare: InputPreparation, images: Tensor) -> dict[str, Gram]:
    """Return the centered Gram matrix [n, n] of every stage's features, in the order of the stages.

    Nothing of the network changes, and no random number is drawn from torch's generators.

    Args:
        backbone: on the device, in eval mode.
        prepare: the input contract.
        images: as stored, [n, 1 or 3, h, w] on the device; fewer than `FEWEST_SIMILAR` yield nothing.
    """
    if len(images) < FEWEST_SIMILAR:
        return {}
    modules = dict(backbone.named_modules())
    seen: dict[str, list[Tensor]] = {stage.name: [] for stage in stages(backbone)}
    hooks = [
        modules[name].register_forward_hook(functools.partial(_keep, into)) for name, into in seen.items()
    ]
    try:
        outputs_of(backbone, prepare, images)
    finally:
        for hook in hooks:
            hook.remove()
    # the last rows: where memory was short, the batches of an attempt that failed stand before them
    return {name: center_gram(torch.cat(parts)[-len(images) :]) for name, parts in seen.items() if parts}


def similarities(before: dict[str, Gram], after: dict[str, Gram]) -> tuple[StageSimilarity, ...]:
    """Compare the Gram matrices of the same images, stage by stage."""
    return tuple(
        StageSimilarity(stage=name, cka=linear_cka(before[name], after[name]), images=len(before[name]))
        for name in before
    )


def center_gram(features: Tensor) -> Gram:
    """Return the U-centered Gram matrix [n, n] of features [n, units]; its diagonal is 0."""
    features = features.float()
    features = features - features.mean(dim=0)  # of no effect but for rounding
    gram = (features @ features.T).cpu().double().numpy()
    np.fill_diagonal(gram, 0)
    n, sums = len(gram), gram.sum(axis=0)
    gram += sums.sum() / ((n - 1) * (n - 2)) - (sums[:, None] + sums[None, :]) / (n - 2)
    np.fill_diagonal(gram, 0)
    return gram


def linear_cka(a: Gram, b: Gram) -> float | None:
    """Return the debiased linear CKA of two centered Gram matrices; None where features do not vary."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / size if np.isfinite(size) and size > 0 else None


def _keep(
    into: list[Tensor], _module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]
) -> None:
    """Copy some units of a stage's output, since the next module may write over it."""
    tensor = output if isinstance(output, torch.Tensor) else output[0]
    flat = tensor.flatten(1)
    into.append(flat[:, _units(flat.shape[1], flat.device)])


@functools.lru_cache(maxsize=64)
def _units(count: int, device: torch.device) -> Tensor:
    """Return which of `count` units are compared; drawn over all, whatever the layout of the axes."""
    drawn = np.random.default_rng(0).permutation(count)[:UNITS]
    return torch.from_numpy(np.sort(drawn)).to(device)
