"""The twelve 2D tasks of MedMNIST v2 in four sizes, without the medmnist package."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, kw_only=True)
class MedmnistCard(TaskCard):
    """Entry of one task in the card file."""

    split_sizes: tuple[int, int, int]
    md5: dict[str, str]
    """Image side in pixels, as text since TOML keys are, to the MD5 of that file."""


@dataclass(frozen=True)
class MedMNISTSource:
    """Files of one task: ``<name>.npz`` at 28 pixels, ``<name>_<size>.npz`` above."""

    card: MedmnistCard
    base: str

    def fingerprint(self, size: int, places: DataLocations) -> str:
        """Return the published MD5, which `load` checks."""
        return f"md5:{self._md5(size)}"

    def missing(self, size: int, places: DataLocations) -> tuple[MissingFile, ...]:
        """Return the file of this size if it is not found; `load` checks its content."""
        file = self._file(size)
        return () if find_file(file.name, places) else (file,)

    def sizes(self, places: DataLocations) -> tuple[int, ...]:
        """Return the sides whose file is available."""
        return tuple(side for side in map(int, self.card.md5) if not self.missing(side, places))

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
        if str(size) not in self.card.md5:
            raise UserError(f"{self.card.name} has no size {size}; it has {', '.join(self.card.md5)}.")
        return self.card.md5[str(size)]

    def _file(self, size: int) -> MissingFile:
        name = f"{self.card.name}.npz" if size == 28 else f"{self.card.name}_{size}.npz"
        card = self.card
        channels = 1 if card.variant == "gray" else 3
        labels = len(card.classes) if card.kind == "multilabel" else 1
        # file sizes are not published: bound by the unpacked content and headers
        bound = sum(card.split_sizes) * (size * size * channels + labels) + 4096
        return MissingFile(name, bound, f"{self.base}{name}?download=1", self._md5(size))


def _register() -> None:
    content = read_toml(CARD_FILE)
    for name, entry in content["sets"].items():
        card = msgspec.convert({"name": name, **entry}, MedmnistCard)
        facts = {**card.card_facts(), "citation": f"{content['citation']}; {card.citation}"}
        source, sizes = MedMNISTSource(card, content["base"]), tuple(map(int, card.md5))
        task = Task(source=source, sizes=sizes, split_sizes=card.split_sizes, family="medmnist", **facts)
        TASKS.add(name, task)


_register()
