"""Transforms of weights after loading, to separate feature reuse from the scale of weights.

After Raghu et al. 2019, "Transfusion: understanding transfer learning for medical imaging". Parameters of all
layers are transformed. "meanvar" and "shuffled" destroy the features that running statistics of batch norm
describe, so these are reset to a fresh network's; training estimates them again within some dozens of steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...core.errors import UserError
from ..init import WeightTransform
from .archs import build_backbone
from .stages import stages

if TYPE_CHECKING:
    from torch import Tensor, nn

STREAM = 2
"""Number of this random stream, so that it differs from others of the same seed."""


def transform_weights(
    transform: WeightTransform, model: nn.Module, random: Mapping[str, Tensor], arch: str, seed: int
) -> None:
    """Transform the weights of `model` in place.

    The draws depend on the seed and the shapes alone: with one seed every source gets the same normal
    numbers and the same permutations, and the random stages of "partial" are those of `scratch`.

    Args:
        transform: kind, and number of stages.
        model: has the source's weights; on the CPU.
        random: state of a fresh network of the same seed.
        arch: name of the network in the error.
        seed: of the cell.

    Raises:
        UserError: the network has fewer stages.
    """
    state = model.state_dict()  # not copies
    parameters = dict(model.named_parameters())
    if transform.kind == "partial":
        _check_stages(transform, model, arch)
        kept = {name for stage in stages(model)[: transform.stages] for name in stage.tensors}
    else:
        kept = set(parameters)
    rng = np.random.default_rng([seed, STREAM])
    with torch.no_grad():
        for name, tensor in state.items():
            if name not in kept:
                tensor.copy_(random[name])
            elif transform.kind == "meanvar":
                normal = torch.from_numpy(rng.standard_normal(tuple(tensor.shape), dtype=np.float32))
                tensor.copy_(tensor.mean() + normal * tensor.std(correction=0))
            elif transform.kind == "shuffled":
                order = torch.from_numpy(rng.permutation(tensor.numel()))
                tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))


def check_transform(transform: WeightTransform, arch: str, input_size: int) -> None:
    """Raise `UserError` where an architecture has too few stages for a transform."""
    if transform.kind == "partial":
        _check_stages(transform, build_backbone(arch, input_size), arch)


def _check_stages(transform: WeightTransform, model: nn.Module, arch: str) -> None:
    names = [stage.name for stage in stages(model)]
    if not 1 <= transform.stages < len(names):
        source = transform.source.name
        raise UserError(
            f"partial:{source}:{transform.stages} is not possible: {arch} has {len(names)} stages "
            f"({', '.join(names)}); keep 1 to {len(names) - 1} of them (none is scratch, all are {source})."
        )
