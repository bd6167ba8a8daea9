"""Arrays of a task in a cache folder: written in chunks, memory-mapped for reading."""

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.files import write_atomic
from ..images.bit_depth import to_uint8
from ..pseudonymize import group_number
from ..task import SPLITS, Split
from .decode import DecodedImages
from .patient_ids import pseudonym_numbers, rank_owners
from .splits_and_labels import SplitsAndLabels


class ColumnNames(msgspec.Struct, frozen=True):
    """Names of the subgroup columns and traits of a split; their files are numbered."""

    columns: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()


@dataclass(frozen=True)
class ArrayFolder:
    """Folder with the arrays of a task."""

    path: Path

    def split(self, name: str) -> Split:
        """Open a split with memory-mapped images; `UserError` if files are missing or damaged."""
        try:
            names = msgspec.json.decode((self.path / "names.json").read_bytes(), type=ColumnNames)
            grouped = self._file(name, "groups").is_file()
            return Split(
                np.load(self._file(name, "images"), mmap_mode="r", allow_pickle=False),
                self._array(name, "labels"),
                self._array(name, "groups") if grouped else None,
                self._load_columns(name, "column", names.columns),
                self._load_columns(name, "trait", names.traits),
                self._array(name, "patient_known") if grouped else None,
            )
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{self.path} is damaged: delete it and run the same command again.") from error

    def write(self, images: DecodedImages, parts: SplitsAndLabels, salt: bytes, task: str) -> str:
        """Write the arrays of every split; returns the hash of all that training sees.

        Copies and removes the scratch files of `images`. `salt` and `task` make patient numbers pseudonymous.
        """
        digest = hashlib.sha256(b"16" if images.deep else b"8")
        plain = rank_owners(parts.owners, images.marks)  # independent of the salt, equal on every machine
        # in the order of `plain`, or each salt would select other label subsets
        groups = np.unique(pseudonym_numbers(parts.owners, salt, task))[plain]
        traits = {name: _pseudonymize_text(values, salt, task) for name, values in parts.traits.items()}
        trusted = bool(parts.several) or not parts.doubtful
        known = np.array([trusted and group in parts.patients for group in parts.groups])
        several = len(set(parts.owners)) < len(parts.owners)
        grouped = any(parts.groups) or several
        if several and not any(parts.groups) and not parts.owners_merged:
            digest.update(b"frames")  # version 5 stored no groups for the frames of a file
        self._write_images(images, parts.splits)
        for number, name in enumerate(SPLITS):
            mine = np.flatnonzero(parts.splits == number)
            self._save(name, "labels", parts.labels[mine])
            if grouped:
                self._save(name, "groups", groups[mine])
                self._save(name, "patient_known", known[mine])
            for kind, columns in (("column", parts.columns), ("trait", traits)):
                for at, values in enumerate(columns.values()):
                    self._save(name, f"{kind}_{at}", values[mine])
            digest.update(b"".join(images.marks[row] for row in mine))
            for column in parts.columns.values():
                digest.update("\0".join(column[mine]).encode())
            digest.update(parts.labels[mine].tobytes() + plain[mine].tobytes() + name.encode())
        names = msgspec.json.encode(ColumnNames(tuple(parts.columns), tuple(parts.traits)))
        (self.path / "names.json").write_bytes(names)
        self._write_manifest(parts, groups, salt, task)
        return digest.hexdigest()

    def _write_images(self, images: DecodedImages, splits: NDArray[np.int64]) -> None:
        """Distribute the images chunk by chunk to one file per split."""
        kind = np.dtype(np.uint16 if images.deep else np.uint8)
        with ExitStack() as stack:
            files = []
            for number, name in enumerate(SPLITS):
                file = stack.enter_context(self._file(name, "images").open("wb"))
                shape = (int((splits == number).sum()), *images.decoder.shape)
                header = {"descr": kind.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                files.append(file)
            start = 0
            for squares in images.iterate_squares():
                mine = splits[start : start + len(squares)]
                start += len(squares)
                for number, file in enumerate(files):
                    chosen = squares[mine == number]
                    file.write((chosen if images.deep else to_uint8(chosen)).data)

    def _write_manifest(
        self, parts: SplitsAndLabels, groups: NDArray[np.int64], salt: bytes, task: str
    ) -> None:
        """Write one row per image, identifiable only with the salt."""

        def write(file: Any) -> None:
            file.write(b"image,split,group\n")
            for name, split, group in zip(parts.names, parts.splits.tolist(), groups.tolist(), strict=True):
                file.write(f"{group_number(salt, task, name):x},{SPLITS[split]},{group:x}\n".encode())

        write_atomic(self.path / "splits.csv", write)

    def _load_columns(self, split: str, kind: str, names: tuple[str, ...]) -> Mapping[str, NDArray[Any]]:
        return {name: self._array(split, f"{kind}_{at}") for at, name in enumerate(names)}

    def _array(self, split: str, what: str) -> NDArray[Any]:
        return np.load(self._file(split, what), allow_pickle=False)

    def _save(self, split: str, what: str, values: NDArray[Any]) -> None:
        np.save(self._file(split, what), values)

    def _file(self, split: str, what: str) -> Path:
        return self.path / f"{split}_{what}.npy"


def _pseudonymize_text(trait: NDArray[Any], salt: bytes, task: str) -> NDArray[Any]:
    """Return text, [n], as salted hashes: equality is kept for the audit, names are not."""
    if trait.dtype.kind != "U":
        return trait
    words, place = np.unique(trait, return_inverse=True)
    return np.array([f"{group_number(salt, task, word):x}" if word else "" for word in words.tolist()])[place]
