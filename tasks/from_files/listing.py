"""What files a task has, in one order, with the label, patient, split and subgroups of each."""

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
    """Files in the order of their paths; everything here may identify a patient and stays in the process.

    Attributes:
        root: what the paths are relative to.
        paths: of the files, [n].
        labels: int64, [n] or [n, classes], as `Split.labels`.
        patients: raw patient per file, as a table or the path says; "" where neither does.
        splits: train, val or test per file, or () where they are to be made; a lacking val is cut from train.
        studies: what the table calls the study of each file, "" where it does not; () without such a column.
        columns: subgroup values per file.
        places: where each file is named, for a message: a line of the table, or its path.
        rule: what gives the splits, as "as the column 'split' says"; "" where they are to be made.
        notes: what was seen and not used, or does not agree, a clause each.
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
        """Hash all of it, with the size and time of each file: what changes makes new arrays."""
        digest = hashlib.sha256()
        facts = (
            self.labels.tolist(),
            self.patients,
            self.studies,
            self.splits,
            dict(self.columns),
            self.rule,
            self.notes,
        )
        digest.update(json.dumps([str(self.root.resolve()), facts]).encode())
        for path in self.paths:
            try:
                seen = (self.root / path).stat()
                digest.update(f"{path}\0{seen.st_size}\0{seen.st_mtime_ns}\0".encode())
            except OSError:  # reading it will say why
                digest.update(f"{path}\0".encode())
        return digest.hexdigest()


def patients_in(spec: FilesSpec, paths: tuple[str, ...]) -> tuple[str, ...]:
    """Find the patient in each path by the card's `group_pattern`, else ""; errors as `Finder`."""
    find = compile_pattern(spec.files.group_pattern, f"The card of '{spec.name}', key 'files.group_pattern'")
    return tuple(patient for _, patient in pair_with_patients(paths, str, find))
