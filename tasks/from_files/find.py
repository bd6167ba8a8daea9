"""Files of a task, from its table or its class folders."""

from dataclasses import replace

import numpy as np

from ...core.errors import UserError
from .folders import (
    class_images,
    classes_in,
    describe_class_mismatch,
    doubtful_classes,
    first_path_outside,
    split_folders,
    splits_from_folders,
    splits_in_paths,
)
from .listing import FileListing, patients_in
from .schema import FilesSpec
from .table_rows import list_table_files


def list_task_files(spec: FilesSpec) -> FileListing:
    """List the files of a task, by its table or by its class folders.

    Raises:
        UserError: nothing is found, or card, table and folders disagree.
    """
    found = _add_folder_splits(list_table_files(spec) if spec.table else _list_folder_files(spec))
    _refuse_links(spec, found)
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


def _add_folder_splits(found: FileListing) -> FileListing:
    """Use splits named by folders if no column gives them; `UserError` as `splits_from_folders`."""
    if found.splits:
        by_folder = splits_in_paths(found.paths) or found.splits
        odd = sum(word not in ("", split) for word, split in zip(by_folder, found.splits, strict=True))
        clause = f"{odd:,} files lie in a folder of another split than the table says, which is followed"
        return replace(found, notes=(*found.notes, clause)) if odd else found
    splits, clause = splits_from_folders(found.root, found.paths)
    rule = "as the names of the folders say" if splits else ""
    return replace(found, splits=splits, rule=rule, notes=(*found.notes, *([clause] if clause else [])))


def _refuse_links(spec: FilesSpec, found: FileListing) -> None:
    if spec.files.allow_outside or (path := first_path_outside(spec.root, found.paths)) is None:
        return
    place = found.places[found.paths.index(path)]
    raise UserError(
        f"{spec.root / path if place == path else place}: a link leads out of {spec.root}: say "
        "allow_outside = true in [files] to permit it."
    )


def _list_folder_files(spec: FilesSpec) -> FileListing:
    if odd := describe_class_mismatch(classes_in(spec.root), spec.classes):
        what = "the folders in its folders of splits" if split_folders(spec.root) else "its folders"
        raise UserError(
            f"{spec.root}: {what} and the classes of the card differ ({odd}): rename or "
            "remove one of them, or name a table by 'files.table'."
        )
    files = [
        (path, number) for number, name in enumerate(spec.classes) for path in class_images(spec.root, name)
    ]
    files.sort()
    if not files:
        raise UserError(f"{spec.root} holds no image: put the images of each class into its folder.")
    paths = tuple(path for path, _ in files)
    labels = np.array([number for _, number in files], np.int64)
    notes = (doubt,) if (doubt := doubtful_classes(spec.root)) else ()
    return FileListing(spec.root, paths, labels, patients_in(spec, paths), places=paths, notes=notes)
