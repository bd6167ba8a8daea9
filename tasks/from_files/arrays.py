"""The arrays of a task in a folder of the cache: written piece by piece, and mapped to be read."""

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
    """The subgroup columns and traits of a split; their files are numbered."""

    columns: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()


@dataclass(frozen=True)
class ArrayFolder:
    """Where the arrays of a task lie."""

    path: Path

    def split(self, name: str) -> Split:
        """Open a split; its images are mapped into memory as they are needed.

        Raises:
            UserError: files are gone or damaged.
        """
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
        """Write the arrays of every split; returns the hash of what the engine sees.

        Args:
            images: whose squares are copied, and removed.
            parts: of each image.
            salt: what turns patients into numbers that tell nobody.
            task: which has numbers of its own.
        """
        digest = hashlib.sha256(b"16" if images.deep else b"8")
        plain = rank_owners(parts.owners, images.marks)  # equal on every machine, as the salt is not
        groups = np.unique(pseudonym_numbers(parts.owners, salt, task))[
            plain
        ]  # or each salt would draw other labels
        traits = {name: _pseudonymize_text(values, salt, task) for name, values in parts.traits.items()}
        known = np.array([bool(parts.several) and group in parts.patients for group in parts.groups])
        self._write_images(images, parts.splits)
        for number, name in enumerate(SPLITS):
            mine = np.flatnonzero(parts.splits == number)
            self._save(name, "labels", parts.labels[mine])
            if any(parts.groups) or parts.owners_merged:
                self._save(name, "groups", groups[mine])
                self._save(name, "patient_known", known[mine])
            for kind, held in (("column", parts.columns), ("trait", traits)):
                for at, values in enumerate(held.values()):
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
        """Sort the squares into a file per split, piece by piece."""
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
        """Write a row per image: who holds the salt can tell which it is, and nobody else."""

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
    """Return text, [n], as salted hashes: the audit asks only what is equal, and a header may hold a name."""
    if trait.dtype.kind != "U":
        return trait
    words, place = np.unique(trait, return_inverse=True)
    return np.array([f"{group_number(salt, task, word):x}" if word else "" for word in words.tolist()])[place]
