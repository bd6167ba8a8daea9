"""A user's own set: one small TOML card makes an npz or files a task, or a source for pretraining only."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UserError
from ..core.toml_files import read_toml
from .card import read_task_card
from .from_files.card import files_task
from .from_npz.arrays import NpzLayout, image_side, read_npz
from .from_npz.splits import NpzRows
from .hashes import file_hash
from .task import SPLITS, DataLocations, MissingFile, Split, Task, TaskCard


@dataclass(frozen=True, kw_only=True)
class NpzCard(TaskCard):
    """Card of a local task stored in one npz."""

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
    layout: NpzLayout

    def fingerprint(self, size: int, places: DataLocations) -> str:
        """Return the SHA-256 of the file; an unchanged file is not read again."""
        return f"sha256:{file_hash(self.path, 'sha256')}"

    def missing(self, size: int, places: DataLocations) -> tuple[MissingFile, ...]:
        """Name the file if it does not stand where the card says."""
        return () if self.path.is_file() else (MissingFile(self.path.name, place=self.path),)

    def sizes(self, places: DataLocations) -> tuple[int, ...]:
        """Give the stored side, or nothing where the file is missing; `UserError` where it is damaged."""
        return (image_side(self.path),) if self.path.is_file() else ()

    def rows(self, split: str, size: int, places: DataLocations) -> NpzRows:
        """Open one split, to be read a few images at a time."""
        return NpzRows(self.path, self.layout, split)

    def load(self, size: int, places: DataLocations) -> Mapping[str, Split]:
        """Read and check the splits at their stored size."""
        return read_npz(self.path, self.layout)


def local_task(path: Path) -> Task:
    """Make a task of a card.

    Args:
        path: a TOML file with the keys of `NpzCard`, or of `FilesCard` where it has a table `files`.

    Raises:
        UserError: naming the card and the key that is unknown, missing or wrong. The images
            are not looked at before they are needed.
    """
    content = read_toml(path)
    if "files" in content:
        return files_task(path, content)
    card = read_task_card(path, content, NpzCard)
    if not card.path.endswith(".npz"):
        raise UserError(f"{path}: key 'path': it must name an .npz file.")
    required = SPLITS if card.role == "task" else card.pretrain_splits
    cure = "export or copy it again"
    layout = NpzLayout(card.kind, len(card.classes), card.variant, required, cure, card.subgroups)
    return Task(source=LocalSource(path.parent / card.path, layout), **card.card_facts())


def find_cards(folder: Path) -> Iterable[Path]:
    """List the cards that lie in a folder, by name; TOML files that are none are passed over."""
    return [path for path in sorted(folder.glob("*.toml")) if _is_card(path)]


def _is_card(path: Path) -> bool:
    try:
        content = read_toml(path)
    except UserError:
        # not TOML: a broken card shall be reported, somebody else's file shall not
        try:
            return bool(re.search(rb"^\s*(path\s*=.*\.npz|\[files\])", path.read_bytes(), re.MULTILINE))
        except OSError:
            return False
    target = content.get("path")
    described = content.keys() & {"kind", "classes", "variant"}
    images = (isinstance(target, str) and target.endswith(".npz")) or isinstance(content.get("files"), dict)
    return images and bool(described)
