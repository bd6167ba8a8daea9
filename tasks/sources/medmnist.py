"""The twelve 2D tasks of MedMNIST v2 in four sizes.

Labels, split sizes, licenses, addresses and MD5 sums come from `medmnist.INFO`, the rest from medmnist.toml.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from ...core.errors import UserError
from ...core.toml_files import read_toml
from ..data_paths import find_file
from ..download import download_missing
from ..from_npz.arrays import NpzLayout, read_npz
from ..from_npz.splits import NpzRows
from ..hashes import file_hash
from ..task import SPLITS, TASKS, DataLocations, MissingFile, Split, Task, TaskCard

CARD_FILE = Path(__file__).with_suffix(".toml")
KINDS = {
    "binary-class": "binary",
    "multi-class": "multiclass",
    "multi-label, binary-class": "multilabel",
    "ordinal-regression": "ordinal",
}
"""MedMNIST's name of a kind of labels, to ours."""
SUFFIXES = {28: "", 64: "_64", 128: "_128", 224: "_224"}
"""Image side in pixels, to the suffix of its keys and file."""


@dataclass(frozen=True, kw_only=True)
class MedmnistCard(TaskCard):
    """Facts of one task.

    Attributes:
        md5: image side in pixels -> MD5 of that file.
        urls: image side in pixels -> address of that file.
    """

    split_sizes: tuple[int, int, int]
    md5: dict[int, str]
    urls: dict[int, str]


@dataclass(frozen=True)
class MedMNISTSource:
    """Files of one task: ``<name>.npz`` at 28 pixels, ``<name>_<size>.npz`` above."""

    card: MedmnistCard

    def fingerprint(self, size: int, places: DataLocations) -> str:
        """Return the published MD5, which `load` checks."""
        return f"md5:{self._md5(size)}"

    def missing(self, size: int, places: DataLocations) -> tuple[MissingFile, ...]:
        """Return the file of this size if it is not found; `load` checks its content."""
        file = self._file(size)
        return () if file.name in (places.assumed or ()) or find_file(file.name, places) else (file,)

    def sizes(self, places: DataLocations) -> tuple[int, ...]:
        """Return the sides whose file is available."""
        return tuple(side for side in self.card.md5 if not self.missing(side, places))

    def load(self, size: int, places: DataLocations) -> Mapping[str, Split]:
        """Find or download the file of this size, check MD5, shapes and split sizes, and read it."""
        path = self._verified_file(size, places)
        splits = read_npz(path, self._layout)
        shapes = {name: splits[name].images.shape[:3] for name in SPLITS}
        wanted = {name: (n, size, size) for name, n in zip(SPLITS, self.card.split_sizes, strict=True)}
        if shapes != wanted:
            name = self.card.name
            raise UserError(f"{path} holds images {shapes} instead of {wanted}: this is not {name}.")
        return splits

    def load_labels(self, size: int, places: DataLocations) -> Mapping[str, Split]:
        """Find or download the file, check its MD5, and read all but the images."""
        return read_npz(self._verified_file(size, places), self._layout, pixels=False)

    def rows(self, split: str, size: int, places: DataLocations) -> NpzRows:
        """Find or download the file, check its MD5, and open one split for reading in batches."""
        return NpzRows(self._verified_file(size, places), self._layout, split)

    @property
    def _layout(self) -> NpzLayout:
        return NpzLayout(self.card.kind, len(self.card.classes), self.card.variant)

    def _verified_file(self, size: int, places: DataLocations) -> Path:
        file = self._file(size)
        path = find_file(file.name, places)
        if path is None:
            if not places.download:
                raise UserError(f"{file.name} is missing: put it into a data root, or allow the download.")
            path = download_missing(file, places)
        digest = file_hash(path, "md5")
        if digest != file.md5:
            raise UserError(
                f"{path} is damaged or not the published file (MD5 {digest} instead of {file.md5}): delete "
                "it, and download or copy it again."
            )
        return path

    def _md5(self, size: int) -> str:
        if size not in self.card.md5:
            raise UserError(
                f"{self.card.name} has no size {size}; it has {', '.join(map(str, self.card.md5))}."
            )
        return self.card.md5[size]

    def _file(self, size: int) -> MissingFile:
        card, md5 = self.card, self._md5(size)
        channels = 1 if card.variant == "gray" else 3
        labels = len(card.classes) if card.kind == "multilabel" else 1
        # file sizes are not published: bound by the unpacked content and headers
        bound = sum(card.split_sizes) * (size * size * channels + labels) + 4096
        return MissingFile(f"{card.name}{SUFFIXES[size]}.npz", bound, card.urls[size], md5)


def read_medmnist_info() -> dict[str, dict[str, Any]]:
    """Return `medmnist.INFO` without importing medmnist.

    Its import takes seconds, as it imports torch, and makes a folder in the home directory.

    Raises:
        UserError: medmnist is not installed, or its info.py has no literal INFO.
    """
    package = find_spec("medmnist")
    if package is None or package.origin is None:
        raise UserError("The package medmnist is not installed: pip install medmnist.")
    file = Path(package.origin).with_name("info.py")
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "INFO":
            return ast.literal_eval(node.value)
    raise UserError(f"{file} defines no INFO: install a medmnist 3.0, as in: pip install 'medmnist<3.1'.")


def _published_facts(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a card that an entry of `medmnist.INFO` gives."""
    return {
        "kind": KINDS[info["task"]],
        "classes": [info["label"][str(number)] for number in range(len(info["label"]))],
        "variant": {1: "gray", 3: "color"}[info["n_channels"]],
        "license": info["license"],
        "split_sizes": [info["n_samples"][split] for split in SPLITS],
        "md5": {size: info[f"MD5{suffix}"] for size, suffix in SUFFIXES.items()},
        "urls": {size: info[f"url{suffix}"] for size, suffix in SUFFIXES.items()},
    }


def _register() -> None:
    content, published = read_toml(CARD_FILE), read_medmnist_info()
    for name, entry in content["sets"].items():
        card = msgspec.convert({"name": name, **entry, **_published_facts(published[name])}, MedmnistCard)
        facts = {**card.card_facts(), "citation": f"{content['citation']}; {card.citation}"}
        source, sizes = MedMNISTSource(card), tuple(card.md5)
        task = Task(source=source, sizes=sizes, split_sizes=card.split_sizes, family="medmnist", **facts)
        TASKS.add(name, task)


_register()
