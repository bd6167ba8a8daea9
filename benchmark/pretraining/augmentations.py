"""Augmentations of a pretraining: `standard`, as of fine-tuning, and `strong`, by the color of the MedNet."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..training.augment import AugmentRule
from .pretrain_result import PretrainSettings

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma of BT.601."""
RGB_TO_YIQ = (LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


class BatchAugmentation(Protocol):
    """An augmentation of batches on the device, by random numbers that are drawn before.

    Of these, columns 1 and 5 are of quarter turns (0: none) and of mirroring (1: none), which `BatchSampler`
    switches off where they are implausible.
    """

    uniforms: ClassVar[int]
    """Random numbers per image."""

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment floats 0..255 [batch, channels, side, side] by uniforms in [0, 1), [batch, uniforms]."""
        ...

    def describe(self) -> str:
        """Return one phrase for the model card."""
        ...


@dataclass(frozen=True)
class StrongAugmentRule:
    """Crops and changes of intensity, strong enough for two views of an image to differ.

    Contrast, brightness and gamma vary, as between scanners, windows and exposures. Gray images have no hue;
    color images also vary in hue and saturation, as between stains and cameras.

    Attributes:
        color: whether to change hue and saturation.
        least_area: smallest share of the image that a crop keeps.
        aspect: largest ratio of the sides of a crop.
        degrees: largest rotation.
        jitter: largest change of contrast and brightness, and of saturation, as a share.
        gamma: largest exponent of the gray levels; the smallest is its inverse.
        hue: largest rotation of the hue, in turns.
    """

    color: bool
    least_area: float = 0.3
    aspect: float = 4 / 3
    degrees: float = 10.0
    jitter: float = 0.4
    gamma: float = 1.6
    hue: float = 0.05
    uniforms: ClassVar[int] = 12

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch, as `BatchAugmentation` says, by one affine resampling and changes of levels."""
        grid = F.affine_grid(self._matrices(draws), list(images.shape), align_corners=False)
        levels = F.grid_sample(images, grid, padding_mode="border", align_corners=False) / 255
        signed = (draws * 2 - 1)[:, :, None, None, None]
        if self.color:
            levels = torch.einsum("bij,bjhw->bihw", self._color_matrices(draws), levels).clamp(0, 1)
        levels = levels ** (signed[:, 8] * math.log(self.gamma)).exp()
        middle = levels.mean(dim=(1, 2, 3), keepdim=True)
        levels = (levels - middle) * (1 + signed[:, 6] * self.jitter)
        return (levels + middle * (1 + signed[:, 7] * self.jitter)).clamp(0, 1) * 255

    def describe(self) -> str:
        """Return one phrase for the model card."""
        hue = f", saturation {self.jitter:g}, hue {self.hue:g} turns" if self.color else ", no hue"
        return (
            f"crops of at least {self.least_area:.0%}, mirroring and quarter turns where plausible, "
            f"rotation {self.degrees:g} degrees, contrast and brightness {self.jitter:g}, "
            f"gamma {1 / self.gamma:.2g} to {self.gamma:g}{hue}"
        )

    def _matrices(self, draws: Tensor) -> Tensor:
        """Return affine matrices [batch, 2, 3] of a random resized crop, rotated, turned and mirrored."""
        signed = draws * 2 - 1
        turns = (draws[:, 1] * 4).floor() * (math.pi / 2)
        angle = signed[:, 0] * math.radians(self.degrees) + turns
        side = (self.least_area + draws[:, 2] * (1 - self.least_area)).sqrt()
        stretch = (signed[:, 9] * math.log(self.aspect) / 2).exp()
        width, height = (side * stretch).clamp(max=1), (side / stretch).clamp(max=1)
        mirror = 1 - 2 * (draws[:, 5] < 0.5).float()
        cos, sin = angle.cos(), angle.sin()
        # of a crop that is turned by 90 degrees, width and height change places in the image
        across, down = (cos * width).abs() + (sin * height).abs(), (sin * width).abs() + (cos * height).abs()
        rows = (
            torch.stack(
                [cos * width * mirror, -sin * height, signed[:, 3] * (1 - across).clamp(min=0)], dim=1
            ),
            torch.stack([sin * width * mirror, cos * height, signed[:, 4] * (1 - down).clamp(min=0)], dim=1),
        )
        return torch.stack(rows, dim=1)

    def _color_matrices(self, draws: Tensor) -> Tensor:
        """Return matrices [batch, 3, 3] on RGB that keep luma, scale saturation and rotate the hue."""
        signed = draws[:, 10:12] * 2 - 1
        scale, angle = 1 + signed[:, 0] * self.jitter, signed[:, 1] * (2 * math.pi * self.hue)
        cos, sin, zero = angle.cos() * scale, angle.sin() * scale, torch.zeros_like(scale)
        rows = ((torch.ones_like(scale), zero, zero), (zero, cos, -sin), (zero, sin, cos))
        chroma = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
        to_yiq, to_rgb = _color_spaces(draws.device)
        return to_rgb @ chroma @ to_yiq


@functools.lru_cache(maxsize=32)  # a copy to a GPU inside a step would make the step wait for it
def _color_spaces(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the matrices from RGB to YIQ and back, [3, 3] each."""
    with torch.inference_mode(False):  # cached in a validation, used in training
        to_yiq = torch.tensor(RGB_TO_YIQ)
        return to_yiq.to(device), torch.linalg.inv(to_yiq).to(device)


def _standard(settings: PretrainSettings) -> BatchAugmentation:
    return AugmentRule(  # `augmentation_draws` switches mirroring off where implausible
        mirror=True,
        invert=True,
        color=settings.variant == "color",
        shift=settings.shift,
        zoom=settings.zoom,
    )


AUGMENTATIONS: Mapping[str, Callable[[PretrainSettings], BatchAugmentation]] = {
    "standard": _standard,
    "strong": lambda settings: StrongAugmentRule(color=settings.variant == "color"),
}
"""Rules by the value of `--augmentation`."""


def make_augmentation(settings: PretrainSettings) -> BatchAugmentation:
    """Return the augmentation of a pretraining."""
    return AUGMENTATIONS[settings.augmentation](settings)
