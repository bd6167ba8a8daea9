"""What lies in a folder: one folder per class, perhaps in one per split, and files at any depth."""

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
"""What lies beside images and is none, as Thumbs.db; what else is none is refused when it is read."""
_SPLIT_NAME = re.compile(
    r"(?:[0-9]{1,3}[ _.-]+)?"
    r"(?:(train|training|trn)|(val|valid|validation|dev|development)|(test|testing|tst))"
    r"(?:[ _-]?(?:set|data|images?|imgs|split))?",
    re.IGNORECASE,
)


def class_folders(root: Path) -> tuple[str, ...]:
    """Name the folders in `root`, hidden ones aside, by alphabet; `UserError` where it is none."""
    try:
        with os.scandir(root) as found:
            return tuple(sorted(each.name for each in found if each.is_dir() and each.name[0] != "."))
    except OSError as error:
        raise UserError(f"Cannot read the folder {root} ({error.strerror}): correct the path.") from error


def parse_split_name(name: str) -> str:
    """Return the split that a folder name or table cell means (train, val or test), "" for another word."""
    found = _SPLIT_NAME.fullmatch(name)
    return SPLITS[(found.lastindex or 0) - 1] if found else ""


def split_folders(root: Path) -> tuple[str, ...]:
    """Name the folders in `root` if they are called as splits are, train and test among them; else ().

    Raises:
        UserError: only some are, test or train is missing, or one holds images outside of class folders.
    """
    names = class_folders(root)
    splits = {name: parse_split_name(name) for name in names if parse_split_name(name)}
    if not splits:
        return ()
    if others := len(names) - len(splits):  # counted, not named: they may be called as patients are
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
    """Say that folders called as splits give no `lacking` (train or test), and the cure."""
    cure = "rename the one to test on (val is then cut from train)" if lacking == "test" else "add it"
    return (
        f"{', '.join(names)} are called as splits are, and there is no {lacking}: {cure}; to have splits "
        "made, put everything into one folder and name that one."
    )


def classes_in(root: Path) -> tuple[str, ...]:
    """Name the class folders in `root`, or in its folders of splits, by alphabet; errors likewise."""
    inside = [name for split in split_folders(root) or ("",) for name in class_folders(root / split)]
    return tuple(sorted(set(inside)))


def describe_class_mismatch(folders: Iterable[str], classes: Iterable[str]) -> str:
    """Say how folders differ from a card's classes, or ""; its own are counted, as they may be patients'."""
    lacking, others = sorted({*classes} - {*folders}), len({*folders} - {*classes})
    said = (
        f"none is called {' or '.join(lacking)}" if lacking else "",
        f"{others:,} called otherwise" if others else "",
    )
    return "; ".join(filter(None, said))


def doubtful_classes(root: Path) -> str:
    """Say in a clause where every class folder holds folders of the same names, as splits do, or ""."""
    classes = class_folders(root)
    inside = {class_folders(root / name) for name in classes}
    same = next(iter(inside), ())
    if split_folders(root) or len(classes) < 2 or len(inside) > 1 or len(same) < 2:
        return ""
    if any(parse_split_name(name) for name in same):  # splits in classes
        return ""
    return (  # counted, not named: they may be called as patients are
        f"the folders {', '.join(classes)} are taken for classes, and each holds folders of the same "
        f"{len(same):,} names: if those are the classes, call these train, val and test, or add a table with "
        "a row per file (path, label, split)"
    )


def class_images(root: Path, name: str) -> Iterator[str]:
    """List what may be images of a class relative to `root`, those of each split folder in turn."""
    for split in split_folders(root) or ("",):
        inside = f"{split}/{name}" if split else name
        if not split or (root / inside).is_dir():  # a split may lack a class
            yield from images_below(root, inside)


def splits_in_paths(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the split that the folders of each path name, all at one depth and outermost; "" where none.

    () where no depth has two splits: a folder `train` above all files tells them apart from nothing.
    """
    folders = [path.split("/")[:-1] for path in paths]
    for depth in range(max(map(len, folders), default=0)):
        told = tuple(parse_split_name(each[depth]) if depth < len(each) else "" for each in folders)
        if len({*told} - {""}) > 1:
            return told
    return ()


def splits_from_folders(root: Path, paths: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Return the split of each path by its folders or (), and why they are not used, in a clause, or "".

    Raises:
        UserError: they tell splits, but no train or no test.
    """
    told = splits_in_paths(paths)
    named = sorted({*told} - {""})
    if unsaid := told.count(""):
        return (), (
            f"folders called {', '.join(named)} are not used as splits, since {unsaid:,} of {len(told):,} "
            "files lie in none: move those, or add a column of splits"
        )
    if lacking := [split for split in ("train", "test") if told and split not in named]:
        raise UserError(f"{root}: folders {no_such_split(named, lacking[0])}")
    return told, ""


def images_below(root: Path, inside: str = "") -> Iterator[str]:
    """List what may be images below `root / inside`; links to folders are not followed.

    As `files_below`, without what `NOT_IMAGES` names.
    """
    for path in files_below(root, inside):
        place = root / path
        if place.name != "DICOMDIR" and place.suffix.lower() not in NOT_IMAGES and not place.is_dir():
            yield path


def files_below(root: Path, inside: str = "") -> Iterator[str]:
    """List the files below `root / inside` relative to `root`, in order; hidden ones are left out.

    No more than the names of one folder (and of those it lies in) are held at a time.

    Raises:
        UserError: a folder cannot be read, a name is no text, or what it names is neither file nor folder.
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


def first_path_outside(root: Path, paths: Iterable[str]) -> str | None:
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


def _is_file_or_folder(entry: "os.DirEntry[str]") -> bool:
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


def is_file(path: Path) -> bool:
    """Tell whether a cell names a file: a remark is too long for a name, and the system would quote it."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def check_header(table: Path, root: Path, columns: Iterable[str]) -> None:
    """Refuse a table that begins with a row: the names of its columns would be cells, never told."""
    if any(is_file(root / name) for name in columns if name):
        raise UserError(f"{table}: its first line names a file: add a line of column names above it.")


def has_row_as_header(frame: "pd.DataFrame") -> bool:
    """Tell whether a column's name is one of its cells, or has their suffix: a row may be first."""
    for name in filter(None, frame.columns):
        suffix = Path(name).suffix.lower()
        alike = sum(str(cell).lower().endswith(suffix) for cell in frame[name]) if suffix else 0
        if 2 * alike > len(frame) or (frame[name] == name).any():
            return True
    return False
