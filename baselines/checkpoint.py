"""A checkpoint of the user's own, described by a small TOML card beside it."""

from pathlib import Path

import msgspec

from ..benchmark.errors import UserError, unknown
from ..benchmark.files import sha256_file
from ..benchmark.tomls import read_toml
from .init import Contract, InitCard, Need

EXAMPLE = """name = "my-mednet"
path = "weights.safetensors"   # relative to this card
sha256 = "..."                 # sha256sum weights.safetensors
arch = "resnet50"              # as timm calls it
corpora = ["radimagenet"]      # every data set that the weights have seen
[input]                        # what they were trained to see
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"""


class CheckpointCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a checkpoint's card; `variant`, `licence`, `citation` and `excused` may be absent."""

    name: str
    path: str
    sha256: str
    arch: str
    input: Contract
    corpora: tuple[str, ...]
    variant: str = ""
    licence: str = ""
    citation: str = ""
    excused: tuple[str, ...] = ()
    """Prefixes of classifier tensors, where they are not called as timm calls them."""


def read_card(path: Path) -> CheckpointCard:
    """Read a checkpoint's card; `UserError` names the file and the key that is wrong."""
    if not path.is_file():
        raise UserError(f"There is no card at {path}: write one there, for example:\n{EXAMPLE}")
    content = read_toml(path)
    for key in content:
        if key not in CheckpointCard.__struct_fields__:
            raise UserError(f"{path}: {unknown('key', key, CheckpointCard.__struct_fields__)}")
    try:
        return msgspec.convert(content, CheckpointCard)
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: {error}: mend the card.") from error


def from_checkpoint(name: str, path: Path, need: Need) -> InitCard:
    """Resolve a user's checkpoint.

    Args:
        name: of the init, as in tables.
        path: the card, or the weights with a card of the same name ending in `.toml` beside them.
        need: what the run wants; the card's arch and variant must agree with it.

    Raises:
        UserError: no card, a wrong key, another arch or colour than the run's, another hash.
    """
    card_path = path if path.suffix == ".toml" else path.with_suffix(".toml")
    card = read_card(card_path)
    file = card_path.parent / card.path
    if not file.is_file():
        raise UserError(f"{card_path} names the weights {file}, which are not there: correct `path`.")
    if card.arch != need.arch:
        raise UserError(
            f"{card_path} holds weights for {card.arch}, the run asks for {need.arch}: "
            f"pass --archs {card.arch}."
        )
    if card.variant and card.variant != need.task.variant:
        raise UserError(
            f"{card_path} is a {card.variant} network and {need.task.name} is {need.task.variant}: "
            "choose --tasks of its colour."
        )
    digest = sha256_file(file)
    if digest != card.sha256.lower():
        raise UserError(
            f"{file} does not hash to the sha256 of {card_path} (it is {digest}): correct the card."
        )
    return InitCard(
        name=name,
        label=f"checkpoint {card.name}",
        identity=f"sha256:{digest}",
        contract=card.input,
        file=file,
        sha256=digest,
        excused=card.excused,
        corpora=card.corpora,
    )
