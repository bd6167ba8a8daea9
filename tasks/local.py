"""A user's own npz set: one small TOML card makes it a task, or a source for pretraining only."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from ..benchmark.errors import UserError
from ..benchmark.tomls import check_keys, read_toml
from .hashes import file_hash
from .npz import Layout, image_side, read_npz
from .npz_rows import NpzRows
from .task import SPLITS, Kind, Missing, Places, Split, Task, Variant

SplitName = Literal["train", "val", "test"]


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a local set's card; see `Task` for their meaning."""

    name: str
    title: str
    role: Literal["task", "source"] = "task"
    kind: Kind
    classes: tuple[str, ...]
    modality: str
    variant: Variant
    source_group: str
    parents: tuple[str, ...]
    pretrain_splits: tuple[SplitName, ...] = ("train",)
    licence: str
    citation: str
    caveats: tuple[str, ...] = ()
    path: str
    """The npz, relative to the card."""


@dataclass(frozen=True)
class LocalSource:
    """One npz file, whatever size is asked for: there is only the stored one.

    Attributes:
        path: the file.
        layout: what its card says of it.
    """

    path: Path
    layout: Layout

    def fingerprint(self, size: int, places: Places) -> str:
        """Return the SHA-256 of the file; an unchanged file is not read again."""
        return f"sha256:{file_hash(self.path, 'sha256')}"

    def missing(self, size: int, places: Places) -> tuple[Missing, ...]:
        """Name the file if it does not stand where the card says."""
        return () if self.path.is_file() else (Missing(self.path.name, place=self.path),)

    def sizes(self, places: Places) -> tuple[int, ...]:
        """Give the stored side, or nothing where the file is missing; `UserError` where it is damaged."""
        return (image_side(self.path),) if self.path.is_file() else ()

    def rows(self, split: str, size: int, places: Places) -> NpzRows:
        """Open one split, to be read a few images at a time."""
        return NpzRows(self.path, self.layout, split)

    def load(self, size: int, places: Places) -> Mapping[str, Split]:
        """Read and check the splits at their stored size."""
        return read_npz(self.path, self.layout)


def local_task(path: Path) -> Task:
    """Make a task of a card.

    Args:
        path: a TOML file with the keys of `Card`.

    Raises:
        UserError: naming the card and the key that is unknown, missing or wrong. The npz itself is
            not looked at before it is needed.
    """
    card = _card(path, read_toml(path))
    required = SPLITS if card.role == "task" else card.pretrain_splits
    layout = Layout(card.kind, len(card.classes), card.variant, required, "export or copy it again")
    facts = {key: getattr(card, key) for key in card.__struct_fields__ if key != "path"}
    return Task(source=LocalSource(path.parent / card.path, layout), family="local", **facts)


def cards_in(folder: Path) -> Iterable[Path]:
    """List the cards that lie in a folder, by name; TOML files that are none are passed over."""
    return [path for path in sorted(folder.glob("*.toml")) if _is_card(path)]


def _is_card(path: Path) -> bool:
    try:
        content = read_toml(path)
    except UserError:
        # not TOML: a broken card shall be reported, somebody else's file shall not
        try:
            return bool(re.search(rb"^\s*path\s*=.*\.npz", path.read_bytes(), re.MULTILINE))
        except OSError:
            return False
    target = content.get("path")
    described = content.keys() & {"kind", "classes", "variant"}
    return isinstance(target, str) and target.endswith(".npz") and bool(described)


def _card(path: Path, content: dict[str, Any]) -> Card:
    fields = msgspec.structs.fields(Card)
    check_keys(path, content, Card.__struct_fields__)
    lacking = [field.name for field in fields if field.required and field.name not in content]
    if lacking:
        keys = "key" if len(lacking) == 1 else "keys"
        raise UserError(f"{path} lacks the {keys} {', '.join(map(repr, lacking))}: add what is known.")
    try:
        card = msgspec.convert(content, Card)
    except msgspec.ValidationError as error:
        raise UserError(_ill_typed(path, content, str(error))) from error
    _check(path, card)
    return card


def _ill_typed(path: Path, content: dict[str, Any], message: str) -> str:
    """Reword msgspec's ``... - at `$.key[...]```, and say which words a key knows."""
    problem, _, place = message.partition(" - at `$.")
    key = re.split(r"[\[`.]", place)[0]
    words = {
        "kind": Kind,
        "variant": Variant,
        "role": Literal["task", "source"],
        "pretrain_splits": SplitName,
    }
    if problem.startswith("Invalid enum value") and key in words:
        problem = f"it is one of {', '.join(words[key].__args__)}, not {content[key]!r}"
    return f"{path}: key '{key}': {problem}."


def _check(path: Path, card: Card) -> None:
    texts = {"title": card.title, "modality": card.modality, "source_group": card.source_group}
    faults = {
        "name": "use lower-case letters, digits, '.', '_' and '-'"
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", card.name)
        else "",
        "classes": _fault_of_classes(card),
        "pretrain_splits": "" if card.pretrain_splits else "name at least one split",
        "path": "" if card.path.endswith(".npz") else "it must name an .npz file",
        **{key: "" if text.strip() else "it must not be empty" for key, text in texts.items()},
    }
    for key, fault in faults.items():
        if fault:
            raise UserError(f"{path}: key '{key}': {fault}.")


def _fault_of_classes(card: Card) -> str:
    if len(set(card.classes)) < max(2, len(card.classes)):
        return "name two classes at least, each once"
    if card.kind == "binary" and len(card.classes) != 2:
        return f"a binary task has two, not {len(card.classes)}"
    return ""
