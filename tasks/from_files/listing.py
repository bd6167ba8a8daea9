"""Listing of a task's files, with the label, patient, split and subgroups of each."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..patients import compile_pattern, pair_with_patients
from .schema import FilesSpec


@dataclass(frozen=True, eq=False)
class FileListing:
    """Files sorted by path; any field may identify a patient and stays in the process.

    Attributes:
        root: base of the paths.
        labels: int64, [n] or [n, classes], as `Split.labels`.
        patients: raw patient per file, from table or path, else "".
        splits: train, val or test per file; () if splits are to be made; a missing val is cut from train.
        studies: study per file from the table, else ""; () without such a column.
        columns: subgroup values per file.
        places: origin of each file for messages: a line of the table, or its path.
        rule: origin of the splits, as "as the column 'split' says"; "" if they are to be made.
        notes: unused or contradictory findings, a clause each.
    """

    root: Path
    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    patients: tuple[str, ...]
    splits: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    places: tuple[str, ...] = ()
    rule: str = ""
    notes: tuple[str, ...] = ()

    def state_hash(self) -> str:
        """Hash all fields and the size and time of each file; any change rebuilds the arrays."""
        digest = hashlib.sha256()
        labels, columns = self.labels.tolist(), dict(self.columns)
        facts = (labels, self.patients, self.studies, self.splits, columns, self.rule, self.notes)
        digest.update(json.dumps(facts).encode())
        digest.update(self.files_hash().encode())
        return digest.hexdigest()

    def files_hash(self) -> str:
        """Hash the path, size and time of each file."""
        digest = hashlib.sha256(f"{self.root.resolve()}\0".encode())
        for path in self.paths:
            try:
                stat = (self.root / path).stat()
                digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
            except OSError:  # reported on reading
                digest.update(f"{path}\0".encode())
        return digest.hexdigest()


def place_of_file(listing: FileListing, spec: FilesSpec, file: int) -> str:
    """Name a file without its name: by its line of the table, else by its number in its class."""
    place = listing.places[file]
    if spec.table:
        return place.rpartition(", ")[2]
    mine = np.flatnonzero(listing.labels == listing.labels[file])
    number = int(np.searchsorted(mine, file)) + 1
    return f"file {number:,} of {len(mine):,} in {spec.classes[int(listing.labels[file])]} by path"


def patients_in(spec: FilesSpec, paths: tuple[str, ...]) -> tuple[str, ...]:
    """Return each path's patient by `group_pattern`, else ""; errors as `PatientMatcher`."""
    find = compile_pattern(spec.files.group_pattern, f"The card of '{spec.name}', key 'files.group_pattern'")
    return tuple(patient for _, patient in pair_with_patients(paths, str, find))
