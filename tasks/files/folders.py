"""What lies in a folder: one folder per class, and files at any depth."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...benchmark.errors import UserError

BESIDE = frozenset({
    ".csv", ".tsv", ".txt", ".toml", ".json", ".md", ".parquet", ".xls", ".xlsx", ".html", ".xml", ".pdf",
    ".log", ".db", ".ini",
})  # fmt: skip
"""What lies beside images and is none, as Thumbs.db; what else is none is refused when it is read."""


def class_folders(root: Path) -> tuple[str, ...]:
    """Name the folders in `root`, hidden ones aside, by alphabet; `UserError` where it is none."""
    try:
        with os.scandir(root) as found:
            return tuple(sorted(each.name for each in found if each.is_dir() and each.name[0] != "."))
    except OSError as error:
        raise UserError(f"Cannot read the folder {root} ({error.strerror}): correct the path.") from error


def images_below(root: Path, inside: str = "") -> Iterator[str]:
    """List what may be images below `root / inside`; links to folders are not followed.

    As `files_below`, without what `BESIDE` names.
    """
    for path in files_below(root, inside):
        place = root / path
        if place.name != "DICOMDIR" and place.suffix.lower() not in BESIDE and not place.is_dir():
            yield path


def files_below(root: Path, inside: str = "") -> Iterator[str]:
    """List the files below `root / inside` relative to `root`, in order; hidden ones are left out.

    No more than the names of one folder (and of those it lies in) are held at a time.

    Raises:
        UserError: a folder cannot be read, a name is no text, or what it names is neither file nor folder.
    """
    try:
        with os.scandir(root / inside) as listed:
            names = sorted((each.name, each.is_dir(follow_symlinks=False), _opens(each)) for each in listed)
    except OSError as error:
        raise UserError(
            f"Cannot read the folder {root / inside} ({error.strerror}): correct its rights."
        ) from error
    for name, folder, opens in names:
        path = f"{inside}/{name}" if inside else name
        if name.startswith("."):
            continue
        if not _is_text(name):  # no hash, list or pattern can hold bytes that are none
            raise UserError(f"{root / inside} holds a file called {name!r}: rename it, in UTF-8.")
        if not opens:
            raise UserError(
                f"{root / inside} holds {name!r}, a link to nothing or no file at all: remove it."
            )
        if folder:
            yield from files_below(root, path)
        else:
            yield path


def led_out(root: Path, paths: Iterable[str]) -> str | None:
    """Return the first of some paths relative to `root` that a link leads out of it, None where none is."""
    real = root.resolve()
    inside: dict[Path, bool] = {}
    for path in paths:
        place = root / path
        folder = place.parent if place != root else place
        if folder not in inside:  # many files, few folders
            inside[folder] = folder.resolve().is_relative_to(real)
        if not inside[folder] or (place.is_symlink() and not place.resolve().is_relative_to(real)):
            return path
    return None


def _opens(entry: "os.DirEntry[str]") -> bool:
    """Tell whether an entry is a file or folder, maybe by a link; to open a pipe would wait for ever."""
    try:
        return entry.is_file() or entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
