"""A checkpoint of the user's own, described by a small TOML card beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ...core.errors import UserError
from ...core.files import sha256_file, write_bytes
from ...core.toml_files import as_card, read_toml
from ..init import InitCard, InitRequest, InputSpec
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
    """One data set that weights have seen, where more than its id is known."""

    id: str
    images: int = 0
    """That were seen; 0 where nobody says."""
    license: str = ""


class CheckpointCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a checkpoint's card; all that have a default may be absent."""

    name: str
    path: str
    """Of the weights, relative to the card."""
    sha256: str
    arch: str
    input: InputSpec
    corpora: tuple[str, ...]
    """Ids of every data set that the weights have seen."""
    corpus: tuple[SeenCorpus, ...] = ()
    """The same, with counts and licenses; what stands here counts as seen too."""
    variant: str = ""
    license: str = ""
    citation: str = ""
    excused: tuple[str, ...] = ()
    """Prefixes of tensors that may be left over, as the file calls them, beside the arch's classifier."""
    state_dict: str = ""
    """Which of the file's state dicts, where it holds several: "state_dict_ema", "model.student"."""
    layout: str = ""
    """How the file names its tensors (`baselines/layouts`); "" finds it out."""
    input_size: int = 0
    """Side in pixels at which the fingerprint was taken; that of the training where there was one."""
    fingerprint: tuple[float, ...] = ()
    """What the network computes on fixed images (`weights/fingerprint.py`); compared at every load."""
    hashes: str = ""
    """File of sorted perceptual hashes of what was seen, relative to the card."""
    leave_out: tuple[str, ...] = ()
    """Tasks whose sources were kept out of the training."""
    label_spaces: dict[str, Any] = {}
    """What each source's head told apart, by source."""
    training: dict[str, Any] = {}
    """Hyper-parameters, commit and whatever else made the weights."""


def read_checkpoint_card(path: Path) -> CheckpointCard:
    """Read a checkpoint's card; `UserError` names the file and the key that is wrong."""
    if not path.is_file():
        raise UserError(f"There is no card at {path}: write one there, for example:", EXAMPLE)
    card = as_card(path, read_toml(path), CheckpointCard)
    if card.fingerprint and card.input_size < 1:
        raise UserError(f"{path} has a fingerprint without the side at which it was taken: add input_size.")
    return card


def write_card(card: CheckpointCard, path: Path, remarks: Sequence[str] = ()) -> None:
    """Write a card as TOML, atomically; `read_checkpoint_card` returns it again.

    Args:
        card: keys that have their default are left away.
        path: where the card shall stand; a file that is there is replaced.
        remarks: sentences that are put on top as comments.
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
    """Return where the card stands that `path` means to a task of this color."""
    if path.is_dir():
        own = path / "card.toml"
        return own if own.is_file() else path / variant / "card.toml"
    return path if path.suffix == ".toml" else path.with_suffix(".toml")


def from_checkpoint(name: str, path: Path, need: InitRequest) -> InitCard:
    """Resolve a user's checkpoint.

    Args:
        name: of the init, as in tables.
        path: the card; or the weights with a card of the same name ending in `.toml` beside them; or the
            folder of a pretraining, or one that holds one in `gray` and another in `color`.
        need: what the run wants; the card's arch and variant must agree with it.

    Raises:
        UserError: no card, a wrong key, another arch or color than the run's, another hash.
    """
    card_at = card_path(path, need.task.variant)
    card = read_checkpoint_card(card_at)
    file = card_at.parent / card.path
    if not file.is_file():
        raise UserError(f"{card_at} names the weights {file}, which are not there: correct `path`.")
    if card.arch != need.arch:
        raise UserError(
            f"{card_at} holds weights for {card.arch}, the run asks for {need.arch}: "
            f"pass --archs {card.arch}."
        )
    if card.variant and card.variant != need.task.variant:
        raise UserError(
            f"{card_at} is a {card.variant} network and {need.task.name} is {need.task.variant}: "
            "choose --tasks of its color."
        )
    digest = sha256_file(file)
    if digest != card.sha256.lower():
        refuse_other_kinds(file)  # a pointer or a page in place of the weights: the card is not to blame
        raise UserError(
            f"{file} does not hash to the sha256 of {card_at} (it is {digest}): correct the card."
        )
    return InitCard(
        name=name,
        label=f"checkpoint {card.name}",
        identity=f"sha256:{digest}" + (f" {card.state_dict}" if card.state_dict else ""),
        contract=card.input,
        file=file,
        sha256=digest,
        excused=card.excused,
        layout=card.layout,
        state_dict=card.state_dict,
        corpora=tuple(dict.fromkeys((*card.corpora, *(corpus.id for corpus in card.corpus)))),
        fingerprint=card.fingerprint,
        fingerprint_size=card.input_size,
        license=card.license,
    )
