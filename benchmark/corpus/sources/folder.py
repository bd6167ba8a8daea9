"""Images in one folder per class, or in any folders without labels."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ....core.errors import UserError
from ....tasks.from_files.folders import class_folders, describe_class_mismatch, files_below, parse_split_name
from ....tasks.patients import PatientMatcher, compile_pattern, pair_with_patients
from ..file_source import FileEntry, FileSource, entry_of, facts_of, folder_of
from ..source import NO_LABEL, SOURCES, SourceCard, SourceKind


def open_folder(card: SourceCard, folder: Path) -> FileSource:
    """Open a folder with one sub-folder per class; files beside the sub-folders are ignored.

    Without labels, all files below the folder are taken.

    Raises:
        UserError: the folder is missing, or its sub-folders are splits or not the classes of the card.
    """
    root = folder_of(card, folder)
    if card.labels == "none":
        listing = partial(_unlabeled_entries, root, group_finder(card))
        return FileSource(facts_of(card, ()), root, listing, card.reader)
    found = class_folders(root)
    if {"train", "test"} <= {parse_split_name(name) for name in found}:
        raise UserError(
            f"{root}: its folders are called as splits are, and one of test is nothing to pretrain on: name "
            f"the folder to take by 'path' in the card of '{card.name}'."
        )
    classes = card.classes or found
    if odd := describe_class_mismatch(found, classes):
        raise UserError(f"{root}: its folders and the classes of the card of '{card.name}' differ ({odd}).")
    if len(classes) < 2:
        raise UserError(
            f"{root} holds {len(classes)} folders: put the images of each class into one of its own."
        )
    if card.labels == "multilabel":
        raise UserError(f"The card of '{card.name}': a folder per class gives one label: use a table.")
    listing = partial(_file_entries, root, classes, group_finder(card))
    return FileSource(facts_of(card, classes), root, listing, card.reader)


def group_finder(card: SourceCard) -> PatientMatcher | None:
    """Compile a card's `group_pattern`; errors as `compile_pattern`."""
    return compile_pattern(card.group_pattern, f"The card of '{card.name}', key 'group_pattern'")


def _file_entries(root: Path, classes: tuple[str, ...], find: PatientMatcher | None) -> Iterator[FileEntry]:
    for index, name in enumerate(classes):
        for path, patient in pair_with_patients(files_below(root, name), str, find):
            yield entry_of(root, path, (index,), patient)


def _unlabeled_entries(root: Path, find: PatientMatcher | None) -> Iterator[FileEntry]:
    for path, patient in pair_with_patients(files_below(root), str, find):
        yield entry_of(root, path, NO_LABEL, patient)


SOURCES.add("folder", SourceKind(open_folder))
