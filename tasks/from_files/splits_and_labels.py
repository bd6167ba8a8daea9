"""Split, labels and patient of each image, and warnings about them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ..patients import count_misspelled, few_have_several, propose_pattern
from ..task import SPLITS
from .decode import DecodedImages
from .file_search import takes_several
from .listing import FileListing
from .patient_ids import FILE_OWNER, merge_equal_images, wider_ids
from .schema import FilesSpec
from .split import missing_classes, share_deviations, split_by_patient


@dataclass(frozen=True, eq=False)
class SplitsAndLabels:
    """Facts per image, in the order of `DecodedImages`; may name patients, stay in the process.

    Attributes:
        names: file and frame.
        splits: 0, 1, 2 for train, val, test.
        groups: raw patient, else study, else "".
        patients: the groups that are patients.
        owners: unit kept whole: group, else file; merged over equal images.
        copies: images equal to an earlier one in every pixel, without blank ones.
        several: number of patients with several files.
        doubtful: whether these are so few that the ids may number images.
        shared: number of patients in more than one split.
        warnings: weaknesses of the splits, a clause each.
    """

    names: tuple[str, ...]
    splits: NDArray[np.int64]
    labels: NDArray[np.int64]
    groups: tuple[str, ...]
    patients: frozenset[str]
    owners: tuple[str, ...]
    owners_merged: bool
    copies: int
    columns: Mapping[str, NDArray[np.str_]]
    traits: Mapping[str, NDArray[Any]]
    several: int
    doubtful: bool
    shared: int
    warnings: tuple[str, ...]


def split_images(spec: FilesSpec, listing: FileListing, images: DecodedImages) -> SplitsAndLabels:
    """Assign every image to a split.

    Raises:
        UserError: a split is empty or train lacks a class.
    """
    files = images.files
    labels = listing.labels[files]
    groups = _groups(listing, images)
    paths = tuple(f"{FILE_OWNER}{listing.paths[file]}" for file in files)
    given = tuple(listing.splits[file] for file in files) if listing.splits else ()
    free = _rows_to_split(given, len(files))
    marks = tuple(b"" if blank else mark for mark, blank in zip(images.marks, images.blank, strict=True))
    known = tuple(group or path for group, path in zip(groups, paths, strict=True))
    owners = _merge_owners(known, marks, free)
    splits = np.array([SPLITS.index(split) for split in given] or [0] * len(files), np.int64)
    deviations: tuple[str, ...] = ()
    if len(free):
        units = np.array(owners if spec.rule.by == "patient" else _merge_owners(paths, marks, free), object)[
            free
        ]
        shares = spec.rule.without_test if given else spec.rule.shares
        splits[free] = split_by_patient(labels[free], number_names(units), shares, spec.rule.seed, spec.name)
        deviations = share_deviations(splits[free], units.tolist(), shares)
    patients = _patients(listing, images, groups)
    several = _count_with_several_files(groups, patients, files)
    doubt = _doubt_of_patients(spec, several, len(patients))
    shared = _shared_groups(groups, splits)
    return SplitsAndLabels(
        names=tuple(
            f"{listing.paths[file]}\0{frame}" for file, frame in zip(files, images.frames, strict=True)
        ),
        splits=splits,
        labels=labels,
        groups=groups,
        patients=patients,
        owners=owners,
        owners_merged=owners != known,
        copies=sum(map(bool, marks)) - len({*marks} - {b""}),
        columns={name: np.array(values, np.str_)[files] for name, values in listing.columns.items()},
        traits=images.traits,
        several=several,
        doubtful=bool(doubt),
        shared=len(shared),
        warnings=(
            *_class_warnings(spec, labels, splits),
            *_shared_patients_warning(shared, patients),
            *_misspelled_names_warning(patients),
            *_test_copies_warning(marks, splits),
            *deviations,
            *listing.notes,
            *_patient_warnings(spec, listing, groups, patients, doubt),
        ),
    )


def _rows_to_split(given: tuple[str, ...], count: int) -> NDArray[np.int64]:
    """Return images without a given split: all, or those of train if val is cut from it."""
    if not given:
        return np.arange(count)
    return np.flatnonzero(np.array(given) == "train") if "val" not in given else np.arange(0)


def _merge_owners(
    owners: tuple[str, ...], marks: tuple[bytes, ...], free: NDArray[np.int64]
) -> tuple[str, ...]:
    """Merge owners that have equal images among the rows `free`."""
    name = merge_equal_images([owners[row] for row in free], [marks[row] for row in free])
    return tuple(name.get(owner, owner) for owner in owners)


def _test_copies_warning(marks: tuple[bytes, ...], splits: NDArray[np.int64]) -> tuple[str, ...]:
    """Return a clause on the test images that are equal to one of train or val."""
    seen = {mark for mark, split in zip(marks, splits.tolist(), strict=True) if split < 2}
    odd = sum(bool(mark) and split == 2 and mark in seen for mark, split in zip(marks, splits, strict=True))
    total = int((splits == 2).sum())
    clause = f"{odd:,} of {total:,} test images are in train or val, equal in every pixel: see audit leakage"
    return (clause,) if odd else ()


def _groups(listing: FileListing, images: DecodedImages) -> tuple[str, ...]:
    """Return the raw patient of each image, from table or path, else header; else its study."""
    patients = tuple(listing.patients[file] for file in images.files)
    studies = tuple(listing.studies[file] if listing.studies else "" for file in images.files)
    return wider_ids(patients, wider_ids(images.patients, studies))


def _patients(listing: FileListing, images: DecodedImages, groups: tuple[str, ...]) -> frozenset[str]:
    """Return the groups that table, path or header call a patient, not a study or series."""
    by_header = {key for key, known in zip(images.patients, images.patient_known, strict=True) if known}
    return frozenset(groups) & (by_header | set(listing.patients)) - {""}


def _count_with_several_files(
    groups: tuple[str, ...], patients: frozenset[str], files: NDArray[np.int64]
) -> int:
    """Count the patients with several files; a file of several frames is one."""
    pairs = set(zip(groups, files.tolist(), strict=True))
    return sum(
        count > 1 for group, count in Counter(group for group, _ in pairs).items() if group in patients
    )


def _shared_patients_warning(shared: set[str], patients: frozenset[str]) -> tuple[str, ...]:
    who = "patients" if shared <= patients else "patients or studies"
    clause = f"{len(shared):,} {who} are in more than one split: a test on them proves little"
    return (clause,) if shared else ()


def _misspelled_names_warning(patients: frozenset[str]) -> tuple[str, ...]:
    """Return a clause on patients whose names differ only in spelling."""
    many = count_misspelled(patients)
    clause = (
        f"{many:,} of {len(patients):,} patients have a name that differs from another only by case, blanks, "
        "leading zeros or a final .0, and count as different patients: where these are one, spell them alike"
    )
    return (clause,) if many else ()


def _doubt_of_patients(spec: FilesSpec, several: int, patients: int) -> str:
    """Return a clause if hardly two files share an id, or ""; a row that takes many files is a patient."""
    column, pattern = spec.files.patient_column, spec.files.group_pattern
    row_per_patient = column == spec.files.path_column and takes_several(spec.files.path_pattern)
    if row_per_patient or not few_have_several(several, patients):
        return ""
    named = f"the column '{column}'" if column else "group_pattern" if pattern else "the header"
    few, other = (f"only {several:,}", " other") if several else ("none", "")
    return (
        f"{few} of {patients:,} patients has two files: if any{other} was imaged twice, {named} names images "
        "or studies, and nothing keeps patients whole"
    )


def _patient_warnings(
    spec: FilesSpec, listing: FileListing, groups: tuple[str, ...], patients: frozenset[str], doubt: str
) -> tuple[str, ...]:
    """Return clauses on unknown patients, and on doubtful ones."""
    found = [doubt] if doubt else []
    if studies := sum(bool(group) and group not in patients for group in groups):
        found.append(
            f"of {studies:,} images only the study or series is known: those of one patient may be parted"
        )
    if unknown := sum(not group for group in groups):
        found.append(f"of {unknown:,} images no patient is known: each file stands for itself")
    return (*found[:-1], f"{found[-1]}; {propose_pattern(listing.paths, len(spec.classes))}") if found else ()


def number_names(names: "Sequence[str] | NDArray[np.object_]") -> NDArray[np.int64]:
    """Return [n] numbers in the order of the names, equal for equal names, on every machine."""
    return np.unique(np.asarray(names, object), return_inverse=True)[1].astype(np.int64)


def _shared_groups(groups: tuple[str, ...], splits: NDArray[np.int64]) -> set[str]:
    """Return the groups in more than one split."""
    seen: dict[str, set[int]] = {}
    for group, split in zip(groups, splits.tolist(), strict=True):
        if group:
            seen.setdefault(group, set()).add(split)
    return {group for group, each in seen.items() if len(each) > 1}


def _class_warnings(spec: FilesSpec, labels: NDArray[np.int64], splits: NDArray[np.int64]) -> tuple[str, ...]:
    """Return warnings on missing classes; `UserError` for an empty split or a gap in train."""
    empty = [name for number, name in enumerate(SPLITS) if number not in splits]
    if empty:
        raise UserError(
            f"{spec.name}: the split {empty[0]} came out empty: change 'split.shares' or the seed."
        )
    absent = missing_classes(labels, splits, spec.classes)
    if 0 in absent:
        raise UserError(
            f"{spec.name}: the split train has no image of the class '{absent[0]}': add patients of it, "
            "leave the class out, or change the splits."
        )
    return tuple(f"the split {SPLITS[split]} has no image of '{name}'" for split, name in absent.items())
