"""The files of a task, found by a table or in the folders of the classes."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...benchmark.errors import UserError
from .listing import Listing, patients_in
from .rows import from_table
from .spec import Spec

BESIDE = frozenset({
    ".csv", ".tsv", ".txt", ".toml", ".json", ".md", ".parquet", ".xls", ".xlsx", ".html", ".xml", ".pdf",
    ".log", ".db", ".ini",
})  # fmt: skip
"""What lies beside images and is none, as Thumbs.db; what else is none is refused when it is read."""


def listed(spec: Spec) -> Listing:
    """List the files of a task, by its table or by the folders of its classes.

    Raises:
        UserError: nothing is found, or what the card, table and folders say does not agree.
    """
    found = from_table(spec) if spec.table else _from_folders(spec)
    present = np.unique(found.labels) if found.labels.ndim == 1 else np.flatnonzero(found.labels.any(0))
    if found.labels.ndim == 1 and len(present) == 1:
        only = spec.classes[int(present[0])]
        raise UserError(
            f"{spec.table or spec.root}: every file is of the class '{only}': two classes at least are "
            "needed to learn anything."
        )
    lacking = [name for number, name in enumerate(spec.classes) if number not in present]
    if lacking:
        raise UserError(
            f"{spec.table or spec.root}: no file is of the class '{lacking[0]}': correct the card's classes "
            "or the labels."
        )
    return found


def _from_folders(spec: Spec) -> Listing:
    folders = class_folders(spec.root)
    odd = sorted(set(folders) ^ set(spec.classes))
    if odd:
        raise UserError(
            f"{spec.root}: its folders and the classes of the card differ ({', '.join(odd)}): rename one of "
            "them, or name a table by 'files.table'."
        )
    files = [
        (path, number) for number, name in enumerate(spec.classes) for path in images_below(spec.root, name)
    ]
    files.sort()
    if not files:
        raise UserError(f"{spec.root} holds no image: put the images of each class into its folder.")
    paths = tuple(path for path, _ in files)
    labels = np.array([number for _, number in files], np.int64)
    return Listing(spec.root, paths, labels, patients_in(spec, paths), places=paths)


def class_folders(root: Path) -> tuple[str, ...]:
    """Name the folders in `root`, hidden ones aside, by alphabet; `UserError` where it is none."""
    try:
        with os.scandir(root) as found:
            return tuple(sorted(each.name for each in found if each.is_dir() and each.name[0] != "."))
    except OSError as error:
        raise UserError(f"Cannot read the folder {root} ({error.strerror}): correct the path.") from error


def images_below(root: Path, inside: str = "") -> Iterator[str]:
    """List what may be images below `root / inside`, relative to `root`; links are not followed."""
    for folder, folders, names in os.walk(root / inside):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.isprintable():  # bytes that are no text cannot be hashed, nor told
                raise UserError(f"{root / inside} holds a file called {name!r}: rename it, in UTF-8.")
            if not name.startswith(".") and name != "DICOMDIR" and Path(name).suffix.lower() not in BESIDE:
                yield Path(folder, name).relative_to(root).as_posix()
