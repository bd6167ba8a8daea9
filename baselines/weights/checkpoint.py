"""Users' own checkpoints, each described by a TOML card."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from ...core.errors import UserError
from ...core.files import sha256_file, write_bytes
from ...core.toml_files import as_card, check_keys, read_toml
from ..init import ArchArg, ImagesOf, InitCard, InitRequest, InputSpec
from .load_state_dict import refuse_other_kinds

EXAMPLE = """name = "my-mednet"
path = "weights.safetensors"   # relative to this card
sha256 = "..."                 # sha256sum weights.safetensors
arch = "resnet50"              # as timm calls it
corpora = ["radimagenet"]      # every data set that the weights have seen
[input]                        # what they were trained to see
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"""


class SeenCorpus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One data set that weights have seen, with its number of images (0 if unknown) and license."""

    id: str
    images: int = 0
    license: str = ""


class CheckpointCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a checkpoint's card; those with a default are optional."""

    name: str
    path: str
    """Of the weights, relative to the card."""
    sha256: str
    arch: str
    arch_args: dict[str, ArchArg] = {}
    """Arguments of timm beside the name, such as init_values = 1e-5 or mlp_layer = "SwiGLUPacked"."""
    input: InputSpec
    corpora: tuple[str, ...]
    """Ids of every data set that the weights have seen."""
    corpus: tuple[SeenCorpus, ...] = ()
    """Further data sets, or the same ones, with counts and licenses."""
    variant: str = ""
    license: str = ""
    citation: str = ""
    objective: str = ""
    """Training objective, such as "supervised" or "self-supervised DINO"."""
    images: int = 0
    """Number of different images that the weights have seen; 0 if unknown."""
    started_from: str = ""
    """Init that the training continued, such as "imagenet"; "scratch" for random weights; "" if unknown."""
    images_of: ImagesOf = ""
    """Medical images of one color or of both ("mixed"), or natural images; "" if not stated."""
    recalled: tuple[str, ...] = ()
    """Keys of this card whose values are from memory, not read at the source."""
    excused: tuple[str, ...] = ()
    """Prefixes of tensors that may be left over beside the arch's classifier, as named in the file."""
    state_dict: str = ""
    """Name of the state dict if the file holds several, such as "state_dict_ema" or "model.student"."""
    layout: str = ""
    """How the file names its tensors (`baselines/layouts`); "" detects it."""
    input_size: int = 0
    """In pixels, at which the fingerprint was computed; that of the training where it is known."""
    fingerprint: tuple[float, ...] = ()
    """Output of the network on fixed images (`weights/fingerprint.py`); checked at every load."""
    hashes: str = ""
    """File of sorted perceptual hashes of the training images, relative to the card."""
    leave_out: tuple[str, ...] = ()
    """Tasks whose sources were held out from the training."""
    label_spaces: dict[str, Any] = {}
    """Class names of each source's head, by source."""
    training: dict[str, Any] = {}
    """Hyper-parameters, commit and other facts of the training."""

    @property
    def one_channel(self) -> bool:
        """Whether the network is built with one input channel."""
        return self.arch_args.get("in_chans", 3) == 1

    @property
    def color(self) -> str:
        """The only color of tasks that the network takes; "" for either."""
        return self.variant or ("gray" if self.one_channel else "")

    @property
    def contract(self) -> InputSpec:
        """The input contract, "gray" for a network with one input channel."""
        return msgspec.structs.replace(self.input, channels="gray") if self.one_channel else self.input


def read_checkpoint_card(path: Path) -> CheckpointCard:
    """Read a checkpoint's card; `UserError` names the file and the key that is wrong."""
    if not path.is_file():
        raise UserError(f"There is no card at {path}: write one there, for example:", EXAMPLE)
    card = as_card(path, read_toml(path), CheckpointCard)
    check_values(path, card)
    if card.fingerprint and card.input_size < 1:
        raise UserError(f"{path} has a fingerprint without the side at which it was taken: add input_size.")
    return card


def check_values(path: Path, card: CheckpointCard) -> None:
    """Raise `UserError` where `recalled` names no key of the card, or the input channels contradict it."""
    check_keys(path, card.recalled, type(card).__struct_fields__)
    channels = card.arch_args.get("in_chans", 3)
    if channels not in (1, 3):
        raise UserError(
            f"{path}: images have 1 or 3 channels, and in_chans is {channels}: correct arch_args."
        )
    if (card.input.channels == "gray") > card.one_channel:
        raise UserError(f'{path}: channels = "gray" is of a network with one: add arch_args.in_chans = 1.')
    if card.one_channel and card.variant == "color":
        raise UserError(f"{path}: a network with one input channel takes no color images: correct `variant`.")


def write_card(card: CheckpointCard, path: Path, remarks: Sequence[str] = ()) -> None:
    """Write a card as TOML, without default values and with `remarks` as comments at its top.

    The write is atomic and replaces an existing file.
    """
    import tomli_w

    content = {
        key: value
        for key, value in msgspec.to_builtins(card).items()
        if key in ("corpora", "input") or value not in ([], {}, "", 0)
    }
    text = "".join(f"# {remark}\n" for remark in remarks) + tomli_w.dumps(content)
    write_bytes(path, text.encode())


def card_path(path: Path, variant: str) -> Path:
    """Return the path of the card that `path` means for a task of this color."""
    if path.is_dir():
        own = path / "card.toml"
        return own if own.is_file() else path / variant / "card.toml"
    return path if path.suffix == ".toml" else path.with_suffix(".toml")


def from_checkpoint(name: str, path: Path, request: InitRequest) -> InitCard:
    """Resolve a user's checkpoint.

    Args:
        name: of the init, as in tables.
        path: the card; or the weights with a card of the same name ending in `.toml` beside them; or the
            folder of a pretraining, or one that holds such folders as `gray` and `color`.
        request: the card's arch and variant must agree with it.

    Raises:
        UserError: no card, a wrong key, another arch or color than the run's, or another hash.
    """
    card_at = card_path(path, request.task.variant)
    card = read_checkpoint_card(card_at)
    file = card_at.parent / card.path
    if not file.is_file():
        raise UserError(f"{card_at} names the weights {file}, which are not there: correct `path`.")
    if card.arch != request.arch:
        raise UserError(
            f"{card_at} holds weights for {card.arch}, the run asks for {request.arch}: "
            f"pass --archs {card.arch}."
        )
    if card.color not in ("", request.task.variant):
        raise UserError(
            f"{card_at} is a {card.color} network and {request.task.name} is {request.task.variant}: "
            "choose --tasks of its color."
        )
    digest = sha256_file(file)
    if digest != card.sha256.lower():
        refuse_other_kinds(file)  # such as a pointer or a web page: the card is right
        raise UserError(
            f"{file} does not hash to the sha256 of {card_at} (it is {digest}): correct the card."
        )
    return replace(init_from_card(card, name, file, digest), origin="card")


def init_from_card(card: CheckpointCard, name: str, file: Path, digest: str) -> InitCard:
    """Return the init called `name` that a card describes, with the weights `file` of this sha256."""
    return InitCard(
        name=name,
        label=f"checkpoint {card.name}",
        identity=f"sha256:{digest}" + (f" {card.state_dict}" if card.state_dict else ""),
        contract=card.contract,
        file=file,
        sha256=digest,
        excused=card.excused,
        layout=card.layout,
        state_dict=card.state_dict,
        corpora=tuple(dict.fromkeys((*card.corpora, *(corpus.id for corpus in card.corpus)))),
        fingerprint=card.fingerprint,
        fingerprint_size=card.input_size,
        objective=card.objective,
        license=card.license,
        arch_args=tuple(sorted(card.arch_args.items())),
        pretraining_images=card.images,
        started_from=card.started_from,
        recalled=card.recalled,
        images_of=card.images_of,
    )
