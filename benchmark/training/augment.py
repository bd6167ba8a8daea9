"""Augmentation of batches on the device, from random numbers drawn before the training."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ...tasks.task import Task

UNIFORMS_PER_IMAGE = 8


@dataclass(frozen=True)
class AugmentRule:
    """The changes that keep an image of a task plausible.

    Attributes:
        mirror: left-right.
        invert: upside-down; also allows quarter turns.
        color: brightness and contrast jitter; not for gray images, whose values carry meaning.
        degrees: largest rotation.
        shift: largest translation, as a share of the image size.
        zoom: largest change of scale, as a share.
    """

    mirror: bool
    invert: bool
    color: bool
    degrees: float = 10.0
    shift: float = 0.08
    zoom: float = 0.1
    uniforms: ClassVar[int] = UNIFORMS_PER_IMAGE

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch, float [batch, channels, h, w] in 0..255, by one affine resampling.

        `draws` are uniform numbers in [0, 1), [batch, UNIFORMS_PER_IMAGE].
        """
        grid = F.affine_grid(self._matrices(draws), list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        if self.color:
            contrast, brightness = (draws[:, 6:8] - 0.5).mul(0.4).T[:, :, None, None, None]
            middle = images.mean(dim=(1, 2, 3), keepdim=True)
            images = ((images - middle) * (1 + contrast) + middle * (1 + brightness)).clamp(0, 255)
        return images

    def describe(self) -> str:
        """Return one phrase for a model card."""
        jitter = ", contrast and brightness 0.2" if self.color else ""
        return (
            f"mirroring and quarter turns where plausible, rotation {self.degrees:g} degrees, "
            f"shift {self.shift:g}, zoom {self.zoom:g}{jitter}"
        )

    def _matrices(self, draws: Tensor) -> Tensor:
        """Return the affine matrices [batch, 2, 3] of rotation, zoom, mirroring and shift."""
        signed = draws * 2 - 1
        angle = signed[:, 0] * math.radians(self.degrees)
        if self.invert:
            angle = angle + (draws[:, 1] * 4).floor() * (math.pi / 2)
        scale = 1 + signed[:, 2] * self.zoom
        mirror = 1 - 2 * (draws[:, 5] < 0.5).float() if self.mirror else torch.ones_like(scale)
        cos, sin = angle.cos() * scale, angle.sin() * scale
        shift = signed[:, 3:5] * (2 * self.shift)  # the grid spans -1..1, a length of 2
        rows = (
            torch.stack([cos * mirror, -sin, shift[:, 0]], dim=1),
            torch.stack([sin * mirror, cos, shift[:, 1]], dim=1),
        )
        return torch.stack(rows, dim=1)


def augment_for(task: Task) -> AugmentRule:
    """Return the augmentation of a task's modality."""
    mirror, invert = task.flips
    return AugmentRule(mirror=mirror, invert=invert, color=task.variant == "color")
