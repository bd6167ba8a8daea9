"""Images in one folder per class."""

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ....tasks.files.find import class_folders
from ....tasks.patients import finder, patient_in
from ...errors import UserError
from ..filesource import Entry, FileSource, entry_of, facts_of, folder_of
from ..source import SOURCES, SourceCard, SourceKind


def open_folder(card: SourceCard, folder: Path) -> FileSource:
    """Open a folder whose folders are the classes; what lies beside them is no image of the source.

    Raises:
        UserError: there is no such folder, or its folders are not the classes of the card.
    """
    root = folder_of(card, folder)
    found = class_folders(root)
    classes = card.classes or found
    if set(found) != set(classes):
        odd = ", ".join(sorted(set(found) ^ set(classes)))
        raise UserError(f"{root}: its folders and the classes of the card of '{card.name}' differ ({odd}).")
    if len(classes) < 2:
        raise UserError(
            f"{root} holds {len(classes)} folders: put the images of each class into one of its own."
        )
    if card.labels == "multilabel":
        raise UserError(f"The card of '{card.name}': a folder per class gives one label: use a table.")
    listing = partial(_entries, root, classes, group_finder(card))
    return FileSource(facts_of(card, classes), root, listing, card.reader)


def group_finder(card: SourceCard) -> "re.Pattern[str] | None":
    """Compile a card's `group_pattern`; errors as `finder`."""
    return finder(card.group_pattern, f"The card of '{card.name}', key 'group_pattern'")


def _entries(root: Path, classes: tuple[str, ...], pattern: "re.Pattern[str] | None") -> Iterator[Entry]:
    for index, name in enumerate(classes):
        for path in walk(root, name):
            yield entry_of(root, path, (index,), patient_in(path, pattern))


def walk(root: Path, inside: str = "") -> Iterator[str]:
    """List the files below `root / inside` relative to `root`, in order; hidden ones are left out.

    No more than the names of one folder (and of those it lies in) are held at a time.
    """
    try:
        with os.scandir(root / inside) as listed:
            names = sorted((each.name, each.is_dir(follow_symlinks=False)) for each in listed)
    except OSError as error:
        raise UserError(
            f"Cannot read the folder {root / inside} ({error.strerror}): correct its rights."
        ) from error
    for name, folder in names:
        path = f"{inside}/{name}" if inside else name
        if name.startswith("."):
            continue
        if not _is_text(name):  # neither a list of problems nor a pattern can hold bytes that are none
            raise UserError(f"{root / inside} holds a file called {name!r}: rename it, in UTF-8.")
        if folder:
            yield from walk(root, path)
        else:
            yield path


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


SOURCES.add("folder", SourceKind(open_folder))
