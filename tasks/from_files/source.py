"""`ImageSource` of a task from files."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..task import SPLITS, DataLocations, MissingFile, Split, no_pixels
from .find import list_task_files
from .image_files import image_files
from .prepared import prepare_task
from .schema import FilesSpec


@dataclass(frozen=True)
class FilesSource:
    """Files of any size, letterboxed to the requested side."""

    card: Path
    spec: FilesSpec

    def fingerprint(self, size: int, places: DataLocations) -> str:
        """Return the hash of all that training sees at this size; prepares the files if needed."""
        return f"sha256:{prepare_task(self.spec, size).manifest.content}"

    def holds(self, folder: Path) -> bool:
        """Whether a folder, which need not exist, is that of the images or inside it."""
        return folder.resolve().is_relative_to(self.spec.root.resolve())

    def val_share(self) -> float | None:
        """Return the share of val in train and val; None where table or folders give the test split."""
        return None if list_task_files(self.spec).splits else self.spec.rule.without_test[1]

    def missing(self, size: int, places: DataLocations) -> tuple[MissingFile, ...]:
        """Return the folder or table that does not exist."""
        missing = [self.spec.root] if not self.spec.root.is_dir() else []
        missing += [table for table in self.spec.tables if not table.is_file()]
        return tuple(MissingFile(path.name, place=path) for path in missing)

    def sizes(self, places: DataLocations) -> tuple[int, ...]:
        """Return (): any size is made from the files."""
        return ()

    def load(self, size: int, places: DataLocations) -> Mapping[str, Split]:
        """Open the splits at a size; `UserError` as `prepare_task`."""
        folder = prepare_task(self.spec, size).folder
        return {name: folder.split(name) for name in SPLITS}

    def load_labels(self, size: int, places: DataLocations) -> Mapping[str, Split]:
        """Open the splits without the images, which `load` maps and does not read."""
        splits = self.load(size, places)
        return {name: replace(split, images=no_pixels(len(split))) for name, split in splits.items()}

    def image_files(self, size: int, places: DataLocations) -> Mapping[str, list[str]]:
        """Return split -> path of each image, which may name a patient: for lists on this machine only."""
        return image_files(self.spec, size)
