"""Architectures: all of timm's, and MedMNIST's ResNets with the CIFAR stem for 28 px."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...core.errors import UserError, unknown_name_error

if TYPE_CHECKING:  # importing torch takes seconds, and `ls` does not need it
    from torch import nn

    from ..init import ArchArg

DEFAULT_ARCH = "tf_efficientnet_lite0"
CIFAR_STEMS = {"resnet18_cifar": "resnet18", "resnet50_cifar": "resnet50"}
"""MedMNIST v2's own networks (Yang et al. 2023, `models.py`): 3x3 first convolution, no max-pooling."""

NORM_EPSILON = "layer_norm_eps"
"""Argument of an arch: epsilon of every layer norm. Two networks may differ in it alone: 1e-12 in the ViT of
`transformers`, 1e-6 in timm's."""


def build_backbone(
    arch: str, input_size: int, classes: int = 0, args: Mapping[str, ArchArg] | None = None
) -> nn.Module:
    """Build a network with fresh random weights, without its classifier.

    Args:
        arch: timm architecture name or one of `CIFAR_STEMS`.
        input_size: in pixels, of the square input.
        classes: 0 for pooled features [batch, features]; otherwise timm's classifier is kept.
        args: arguments of timm beside the name; layers are named as in `timm.layers`. `NORM_EPSILON` is
            not one of timm's.

    Raises:
        UserError: the name or an argument is unknown, or the network does not take this input size.
    """
    import timm
    import torch

    if arch in CIFAR_STEMS:
        model = timm.create_model(CIFAR_STEMS[arch], num_classes=classes, zero_init_last=False)
        model.conv1 = torch.nn.Conv2d(
            int((args or {}).get("in_chans", 3)), 64, 3, stride=1, padding=1, bias=False
        )
        torch.nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = torch.nn.Identity()
        return model
    if not timm.is_model(arch):
        raise unknown_name_error("architecture", arch, [*timm.list_models(), *CIFAR_STEMS])
    given = {name: _timm_value(value) for name, value in (args or {}).items()}
    epsilon = given.pop(NORM_EPSILON, None)
    native = int(given.get("img_size", 0))
    try:
        model = timm.create_model(
            arch, num_classes=classes, **{**flexible_size(arch, input_size, native), **given}
        )
    except TypeError as error:
        if not given:
            raise
        raise UserError(
            f"{arch} cannot be built with {', '.join(given)} ({error}): correct arch_args in the card."
        ) from error
    for module in model.modules():
        if epsilon is not None and isinstance(module, torch.nn.LayerNorm):
            module.eps = epsilon
    return model


def _timm_value(value: ArchArg) -> Any:
    """Return the layer of `timm.layers` that a text names, else the value itself."""
    from timm import layers

    return getattr(layers, value, value) if isinstance(value, str) and value[:1].isupper() else value


def flexible_size(arch: str, input_size: int, native: int = 0) -> dict[str, Any]:
    """Return timm's arguments for a transformer at another input size than its native one in pixels.

    The position embedding keeps its native shape, as strict loading needs, and is resampled in the forward
    pass. `native` is 0 for the size that timm gives the arch. Other networks need no arguments: {}.
    """
    import inspect

    import timm
    from timm.models import model_entrypoint

    cfg = timm.get_pretrained_cfg(arch)
    if cfg is None or not cfg.fixed_input_size:
        return {}
    native = native or cfg.input_size[-1]
    if native == input_size:
        return {}
    module = inspect.getmodule(model_entrypoint(arch))
    if module is not None and "dynamic_img_size" in inspect.getsource(module):
        # Swin pads its windows by itself and does not know the second argument
        pad = {} if "swin" in module.__name__ else {"dynamic_img_pad": True}
        return {"dynamic_img_size": True, **pad}
    raise UserError(f"{arch} takes only {native} px inputs: pass --input-size {native}.")


def check_input_size(arch: str, input_size: int) -> None:
    """Run `arch` on one image of this size; `UserError` where it yields no features."""
    import torch

    model = build_backbone(arch, input_size).eval()
    try:
        with torch.inference_mode():
            features = model(torch.zeros(1, 3, input_size, input_size))
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"{arch} cannot take inputs of {input_size} px ({str(error).splitlines()[0]}): "
            "pass a larger --input-size."
        ) from error
    if features.shape != (1, feature_width(model)):
        raise UserError(
            f"{arch} yields features of shape {tuple(features.shape)}: it is no classifier backbone."
        )


def feature_width(model: nn.Module) -> int:
    """Return the number of pooled features of a backbone."""
    return int(getattr(model, "head_hidden_size", None) or model.num_features)  # type: ignore[arg-type]


def classifier_names(arch: str) -> tuple[str, ...]:
    """Return the prefixes of an architecture's classifier tensors, which alone may differ."""
    import timm

    cfg = timm.get_pretrained_cfg(CIFAR_STEMS.get(arch, arch))
    names = (cfg.classifier if cfg else None) or ()
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))
