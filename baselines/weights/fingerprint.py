"""Fingerprint of a network's output in 32 numbers, which detects weights in a wrong network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...core.errors import UserError
from ..init import InputSpec
from .probe_images import probes_for

if TYPE_CHECKING:  # importing torch takes seconds, and commands that only read cards do not need it
    from torch import nn

NUMBERS, PROBES, SEED = 32, 8, 32
FINGERPRINT_TOLERANCE = 0.01
"""Share of the fingerprint's norm. Rounding (1 or 2 threads) changes it by 3e-6. Measured with ImageNet's
weights in tf_efficientnet_lite0 at 64 px: 0.4 for batch norm's epsilon (1e-5 for 1e-3) and for swapped
channels, 1.0 for the padding of the network without "tf_", 1.5 for another mean and standard deviation."""


def fingerprint(backbone: nn.Module, contract: InputSpec, input_size: int) -> tuple[float, ...]:
    """Return `NUMBERS` projections of the features of fixed probe images, rounded to six digits.

    The features [probes, width] are averaged over the probes with random signs per number, and projected on
    random directions; a number's scale is that of a feature. Mode and device of the backbone do not change.

    Args:
        backbone: maps [batch, 3, side, side], or 1 channel by its contract, to features [batch, features].
        contract: its input contract.
        input_size: in pixels; a fingerprint is valid for this size only.
    """
    from .prepare import InputPreparation

    device = next(backbone.parameters()).device
    images = torch.from_numpy(probes_for(contract.channels, PROBES, input_size)).to(device)
    training = backbone.training
    try:
        with torch.inference_mode():
            features = backbone.eval()(InputPreparation(contract, input_size)(images)).float().cpu().numpy()
    finally:
        backbone.train(training)
    rng = np.random.default_rng(SEED)
    signs = rng.choice([-1.0, 1.0], (NUMBERS, len(features)))  # [numbers, probes]
    directions = rng.standard_normal((features.shape[1], NUMBERS))  # [width, numbers]
    projected = np.einsum("np,pw,wn->n", signs, features, directions)
    numbers = projected / math.sqrt(features.size)
    return tuple(float(f"{number:.6g}") for number in numbers)


def check_fingerprint(
    backbone: nn.Module, contract: InputSpec, input_size: int, stated: tuple[float, ...], origin: str
) -> None:
    """Compare the fingerprint of a network with the one that its card states.

    Args:
        backbone: with its weights; `contract` and `input_size` as in `fingerprint`.
        stated: the card's numbers.
        origin: name of the weights in the error.

    Raises:
        UserError: the fingerprints differ.
    """
    found = np.array(fingerprint(backbone, contract, input_size))
    wanted = np.array(stated)
    if wanted.shape != found.shape:
        raise UserError(
            f"The fingerprint of {origin} has {wanted.size} numbers instead of {found.size}: write it anew "
            "with `mednet-bench inspect-weights`, or leave it out of the card."
        )
    distance = float(np.linalg.norm(found - wanted) / max(float(np.linalg.norm(wanted)), 1e-12))
    if not distance <= FINGERPRINT_TOLERANCE:  # NaN too
        raise UserError(
            f"The weights of {origin} are those that the card names, but the network computes something else "
            f"than the card's fingerprint (by {distance:.1%} of its length, {FINGERPRINT_TOLERANCE:.0%} is "
            "allowed): "
            "another arch, another input contract or another release of timm; correct the card, or install "
            "the timm with which it was made."
        )
