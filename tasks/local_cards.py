"""Local tasks: a TOML card describes an npz or files, as a task or for pretraining only."""

import re
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UserError
from ..core.files import DiskFullError, cache_folder, write_bytes
from ..core.toml_files import read_toml
from .card import read_task_card
from .from_files.card import files_task
from .from_npz.arrays import NpzLayout, image_side, read_npz
from .from_npz.npz_errors import open_npz
from .from_npz.splits import NpzRows
from .hashes import file_hash
from .task import SPLITS, DataLocations, MissingFile, Split, Task, TaskCard


@dataclass(frozen=True, kw_only=True)
class NpzCard(TaskCard):
    """Card of a local task stored in one npz."""

    path: str
    """Path of the npz relative to the card."""


@dataclass(frozen=True)
class LocalSource:
    """Source of one npz, which has one stored size."""

    path: Path
    layout: NpzLayout

    def fingerprint(self, size: int, places: DataLocations) -> str:
        """Return the SHA-256 of the file; cached while the file is unchanged."""
        return f"sha256:{file_hash(self.path, 'sha256')}"

    def missing(self, size: int, places: DataLocations) -> tuple[MissingFile, ...]:
        """Return the file if it is not where the card says."""
        return () if self.path.is_file() else (MissingFile(self.path.name, place=self.path),)

    def sizes(self, places: DataLocations) -> tuple[int, ...]:
        """Return (side,) of the stored images in pixels, or () if the file is missing.

        Raises:
            UserError: the file is damaged.
        """
        return (image_side(self.path),) if self.path.is_file() else ()

    def rows(self, split: str, size: int, places: DataLocations) -> NpzRows:
        """Open one split, to be read in batches of rows."""
        return NpzRows(self.path, self.layout, split)

    def load(self, size: int, places: DataLocations) -> Mapping[str, Split]:
        """Read and check the splits at their stored size."""
        return read_npz(self.path, self.layout)

    def load_labels(self, size: int, places: DataLocations) -> Mapping[str, Split]:
        """Read and check all but the images, whose checksums are compared once per content of the file."""
        check_checksums(self.path, self.layout.cure)
        return read_npz(self.path, self.layout, pixels=False)


def check_checksums(path: Path, cure: str) -> None:
    """Compare the checksums of an npz, once per content of the file; `UserError` where one is wrong."""
    note = cache_folder() / "hashes" / f"{file_hash(path, 'sha256')[:32]}.intact"
    if note.exists():
        return
    with open_npz(path, cure) as archive:
        if wrong := archive.testzip():
            raise zipfile.BadZipFile(f"{wrong} has another checksum")
    with suppress(UserError, DiskFullError):  # without the note they are compared again
        write_bytes(note, b"")


def local_task(path: Path) -> Task:
    """Build a task from a TOML card, without opening its images.

    Raises:
        UserError: names the card and the unknown, missing or wrong key.
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
    """List the cards in a folder by name; other TOML files are skipped."""
    return [path for path in sorted(folder.glob("*.toml")) if _is_card(path)]


def _is_card(path: Path) -> bool:
    try:
        content = read_toml(path)
    except UserError:
        # not TOML: a broken card must be reported, an unrelated file must not
        try:
            return bool(re.search(rb"^\s*(path\s*=.*\.npz|\[files\])", path.read_bytes(), re.MULTILINE))
        except OSError:
            return False
    target = content.get("path")
    described = content.keys() & {"kind", "classes", "variant"}
    images = (isinstance(target, str) and target.endswith(".npz")) or isinstance(content.get("files"), dict)
    return images and bool(described)
