"""Folders of images: one per class, optionally inside one per split."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import UserError
from ..task import SPLITS

if TYPE_CHECKING:
    import pandas as pd

NOT_IMAGES = frozenset({
    ".csv", ".tsv", ".txt", ".toml", ".json", ".md", ".parquet", ".xls", ".xlsx", ".html", ".xml", ".pdf",
    ".log", ".db", ".ini",
})  # fmt: skip
"""Suffixes of files beside images, e.g. Thumbs.db; other non-images are refused on reading."""
TOOL_FOLDERS = frozenset({
    "__macosx", "__pycache__", "@eadir", "#recycle", "#snapshot", "@recycle", "$recycle.bin", "lost+found",
    "system volume information", "node_modules",
})  # fmt: skip
"""Folders of systems and tools, in lower case; those that begin with a point are left out as well."""
_SPLIT_NAME = re.compile(
    r"(?:[0-9]{1,3}[ _.-]+)?"
    r"(?:(train|training|trn)|(val|valid|validation|dev|development)|(test|testing|tst))"
    r"(?:[ _-]?(?:set|data|images?|imgs|split))?",
    re.IGNORECASE,
)


def class_folders(root: Path) -> tuple[str, ...]:
    """Return the sorted names of folders in `root` but those of tools; `UserError` if it is unreadable."""
    try:
        with os.scandir(root) as found:
            return tuple(sorted(each.name for each in found if each.is_dir() and not is_of_tools(each.name)))
    except OSError as error:
        raise UserError(f"Cannot read the folder {root} ({error.strerror}): correct the path.") from error


def is_of_tools(name: str) -> bool:
    """Whether a folder, or a hidden file, is of a system or tool and holds no data."""
    return name.startswith(".") or name.lower() in TOOL_FOLDERS


def parse_split_name(name: str) -> str:
    """Return the split that a folder name or table cell means (train, val or test), or ""."""
    found = _SPLIT_NAME.fullmatch(name)
    return SPLITS[(found.lastindex or 0) - 1] if found else ""


def split_folders(root: Path) -> tuple[str, ...]:
    """Return the names of the split folders in `root`, () if no folder is named as a split.

    Raises:
        UserError: only some are, test or train is missing, or one holds images outside of class folders.
    """
    names = class_folders(root)
    splits = {name: parse_split_name(name) for name in names if parse_split_name(name)}
    if not splits:
        return ()
    if others := len(names) - len(splits):  # counted, not named: they may name patients
        raise UserError(
            f"{root}: its folders {', '.join(splits)} are called as splits are and {others:,} others not: "
            "move the others elsewhere, rename what is a class, or add a table with a row per file."
        )
    if lacking := [split for split in ("train", "test") if split not in splits.values()]:
        raise UserError(f"{root}: its folders {no_such_split(splits, lacking[0])}")
    for name in splits:
        with os.scandir(root / name) as found:
            loose = [each for each in found if each.name[0] != "." and not each.is_dir()]
        if any(Path(each.name).suffix.lower() not in NOT_IMAGES for each in loose):
            raise UserError(
                f"{root / name} is a split, and holds files outside of its class folders: move them into "
                "the folder of their class, elsewhere if it is not known, or add a table with a row per file."
            )
    return tuple(splits)


def no_such_split(names: Iterable[str], lacking: str) -> str:
    """Return a sentence on the missing split `lacking` (train or test), and the cure."""
    cure = "rename the one to test on (val is then cut from train)" if lacking == "test" else "add it"
    return (
        f"{', '.join(names)} are called as splits are, and there is no {lacking}: {cure}; to have splits "
        "made, put everything into one folder and name that one."
    )


def classes_in(root: Path) -> tuple[str, ...]:
    """Return the class folders in `root` or in its split folders, sorted; errors likewise.

    Folders without a candidate image are no classes.
    """
    inside = [(split, name) for split in split_folders(root) or ("",) for name in class_folders(root / split)]
    return tuple(sorted({name for split, name in inside if _holds_images(root, split, name)}))


def empty_folders(root: Path) -> int:
    """Count the folders beside the class folders that hold no image; errors as `classes_in`."""
    inside = {name for split in split_folders(root) or ("",) for name in class_folders(root / split)}
    return len(inside - {*classes_in(root)})


def _holds_images(root: Path, split: str, name: str) -> bool:
    return any(True for _ in images_below(root, f"{split}/{name}" if split else name))


def describe_class_mismatch(folders: Iterable[str], classes: Iterable[str]) -> str:
    """Describe how folders differ from a card's classes, or ""; unknown folders are counted."""
    lacking, others = sorted({*classes} - {*folders}), len({*folders} - {*classes})
    missing = f"none is called {' or '.join(lacking)}" if lacking else ""
    return "; ".join(filter(None, (missing, f"{others:,} called otherwise" if others else "")))


def doubtful_classes(root: Path) -> str:
    """Return a clause if all class folders hold folders of the same names, as splits do, or ""."""
    classes = class_folders(root)
    inside = {class_folders(root / name) for name in classes}
    same = next(iter(inside), ())
    if split_folders(root) or len(classes) < 2 or len(inside) > 1 or len(same) < 2:
        return ""
    if any(parse_split_name(name) for name in same):  # splits in classes
        return ""
    return (  # counted, not named: they may name patients
        f"the folders {', '.join(classes)} are taken for classes, and each holds folders of the same "
        f"{len(same):,} names: if those are the classes, call these train, val and test, or add a table with "
        "a row per file (path, label, split)"
    )


def class_images(root: Path, name: str) -> Iterator[str]:
    """List candidate images of a class relative to `root`, split folder by split folder."""
    for split in split_folders(root) or ("",):
        inside = f"{split}/{name}" if split else name
        if not split or (root / inside).is_dir():  # a split may lack a class
            yield from images_below(root, inside)


def splits_in_paths(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the split that a folder name gives each path, "" where none does.

    Uses the outermost folder level with two or more split names; returns () if no level has two. A single
    split name, as of a folder `train` above all files, separates nothing.
    """
    folders = [path.split("/")[:-1] for path in paths]
    for depth in range(max(map(len, folders), default=0)):
        splits = tuple(parse_split_name(each[depth]) if depth < len(each) else "" for each in folders)
        if len({*splits} - {""}) > 1:
            return splits
    return ()


def splits_from_folders(root: Path, paths: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Return the split of each path by its folders, or (), with a clause on why they are unused.

    Raises:
        UserError: folders name splits, but no train or no test.
    """
    splits = splits_in_paths(paths)
    named = sorted({*splits} - {""})
    if outside := splits.count(""):
        return (), (
            f"folders called {', '.join(named)} are not used as splits, since {outside:,} of "
            f"{len(splits):,} files lie in none: move those, or add a column of splits"
        )
    if lacking := [split for split in ("train", "test") if splits and split not in named]:
        raise UserError(f"{root}: folders {no_such_split(named, lacking[0])}")
    return splits, ""


def images_below(root: Path, inside: str = "") -> Iterator[str]:
    """List candidate images below `root / inside`, as `files_below` without `NOT_IMAGES`."""
    for path in files_below(root, inside):
        place = root / path
        if place.name != "DICOMDIR" and place.suffix.lower() not in NOT_IMAGES and not place.is_dir():
            yield path


def files_below(root: Path, inside: str = "") -> Iterator[str]:
    """List the files below `root / inside` relative to `root`, sorted, without hidden ones and those of
    tools.

    Holds only the names of one folder and its parents at a time; does not follow links to folders.

    Raises:
        UserError: unreadable folder, name not in UTF-8, or an entry that is neither file nor folder.
    """
    try:
        with os.scandir(root / inside) as listed:
            names = sorted(
                (each.name, each.is_dir(follow_symlinks=False), _is_file_or_folder(each)) for each in listed
            )
    except OSError as error:
        raise UserError(
            f"Cannot read the folder {root / inside} ({error.strerror}): correct its rights."
        ) from error
    for name, folder, opens in names:
        path = f"{inside}/{name}" if inside else name
        if is_of_tools(name):
            continue
        if not _is_text(name):  # hashes, lists and patterns need text
            raise UserError(f"{root / inside} holds a file called {name!r}: rename it, in UTF-8.")
        if not opens:
            raise UserError(
                f"{root / inside} holds {name!r}, a link to nothing or no file at all: remove it."
            )
        if folder:
            yield from files_below(root, path)
        else:
            yield path


def first_path_outside(root: Path, paths: Iterable[str]) -> str | None:
    """Return the first path, relative to `root`, that a link leads outside of it, or None."""
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


def _is_file_or_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a file or folder, maybe by a link; opening a pipe would block."""
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


def is_file(path: Path) -> bool:
    """Whether a cell names a file; False for text that is too long for a path."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def check_header(table: Path, root: Path, columns: Iterable[str]) -> None:
    """Refuse a table whose first line is a row, since its column names would be cells."""
    if any(is_file(root / name) for name in columns if name):
        raise UserError(f"{table}: its first line names a file: add a line of column names above it.")


def has_row_as_header(frame: "pd.DataFrame") -> bool:
    """Whether a column's name is one of its cells, or has their suffix: a row may be first."""
    for name in filter(None, frame.columns):
        suffix = Path(name).suffix.lower()
        alike = sum(str(cell).lower().endswith(suffix) for cell in frame[name]) if suffix else 0
        if 2 * alike > len(frame) or (frame[name] == name).any():
            return True
    return False
