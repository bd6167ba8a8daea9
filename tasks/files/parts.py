"""Which image of a task is in which split, with what labels, and of whom: told or made, and judged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...benchmark.errors import UserError
from ..task import SPLITS
from .decode import Images
from .listing import Listing
from .owners import FILE, widened
from .spec import Spec
from .split import astray, lacking, made


@dataclass(frozen=True, eq=False)
class Parts:
    """Per image, in the order of `Images`; everything here may name a patient and stays in the process.

    Attributes:
        names: file and frame.
        splits: 0, 1, 2 for train, val, test.
        labels: as `Split.labels`.
        groups: raw patient, "" where not known.
        owners: the same, or the file where no patient is known.
        columns: as `Split.columns`.
        traits: as `Split.traits`.
        shared: patients that stand in more than one split.
        warnings: what weakens the splits, a clause each.
    """

    names: tuple[str, ...]
    splits: NDArray[np.int64]
    labels: NDArray[np.int64]
    groups: tuple[str, ...]
    owners: tuple[str, ...]
    columns: Mapping[str, NDArray[np.str_]]
    traits: Mapping[str, NDArray[Any]]
    shared: int
    warnings: tuple[str, ...]


def parts_of(spec: Spec, listing: Listing, images: Images) -> Parts:
    """Put every image into its split.

    Raises:
        UserError: a split came out empty or train lacks a class.
    """
    files = images.files
    labels = listing.labels[files]
    groups = _groups(listing, images)
    paths = tuple(f"{FILE}{listing.paths[file]}" for file in files)
    owners = tuple(group or path for group, path in zip(groups, paths, strict=True))
    if listing.splits:
        splits = np.array([SPLITS.index(listing.splits[file]) for file in files])
    else:
        splits = made(labels, numbered(owners if spec.rule.by == "patient" else paths), spec.rule, spec.name)
    shared = _shared(groups, splits)
    return Parts(
        names=tuple(
            f"{listing.paths[file]}\0{frame}" for file, frame in zip(files, images.frames, strict=True)
        ),
        splits=splits,
        labels=labels,
        groups=groups,
        owners=owners,
        columns={name: np.array(values, np.str_)[files] for name, values in listing.columns.items()},
        traits=images.traits,
        shared=shared,
        warnings=(
            *_warnings(spec, labels, splits, groups, shared),
            *(() if listing.splits else astray(splits, owners, spec.rule)),
        ),
    )


def _groups(listing: Listing, images: Images) -> tuple[str, ...]:
    """Return the raw patient of each image: by table or path, else by its header; else its study."""
    told = tuple(listing.patients[file] for file in images.files)
    studies = tuple(listing.studies[file] if listing.studies else "" for file in images.files)
    return widened(told, widened(images.patients, studies))


def numbered(names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return [n] numbers, equal where names are, in the order of the names: alike on every machine."""
    return np.unique(np.array(names, object), return_inverse=True)[1].astype(np.int64)


def _shared(groups: tuple[str, ...], splits: NDArray[np.int64]) -> int:
    seen: dict[str, set[int]] = {}
    for group, split in zip(groups, splits.tolist(), strict=True):
        if group:
            seen.setdefault(group, set()).add(split)
    return sum(len(each) > 1 for each in seen.values())


def _warnings(
    spec: Spec, labels: NDArray[np.int64], splits: NDArray[np.int64], groups: tuple[str, ...], shared: int
) -> tuple[str, ...]:
    """Say what weakens the splits; `UserError` where they cannot be trained on or tested at all."""
    empty = [name for number, name in enumerate(SPLITS) if number not in splits]
    if empty:
        raise UserError(
            f"{spec.name}: the split {empty[0]} came out empty: change 'split.shares' or the seed."
        )
    absent = lacking(labels, splits, spec.classes)
    if 0 in absent:
        raise UserError(
            f"{spec.name}: the split train has no image of the class '{absent[0]}': add patients of it, "
            "leave the class out, or change the splits."
        )
    found = [f"the split {SPLITS[split]} has no image of '{name}'" for split, name in absent.items()]
    if shared:
        found.append(f"{shared:,} patients stand in more than one split: a test on them proves little")
    if unknown := sum(not group for group in groups):
        found.append(f"of {unknown:,} images no patient is known: each file stands for itself")
    return tuple(found)
