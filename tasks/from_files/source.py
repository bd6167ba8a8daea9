"""Where the images of a task from files come from, as `Source` promises it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..task import SPLITS, DataLocations, MissingFile, Split
from .prepared import prepare_task
from .schema import FilesSpec


@dataclass(frozen=True)
class FilesSource:
    """Files of any size, fitted into squares of the side that is asked for.

    Attributes:
        card: where the card lies.
        spec: what it says.
    """

    card: Path
    spec: FilesSpec

    def fingerprint(self, size: int, places: DataLocations) -> str:
        """Return the hash of what the engine sees at this size; the files are prepared if they were not."""
        return f"sha256:{prepare_task(self.spec, size).manifest.content}"

    def holds(self, folder: Path) -> bool:
        """Tell whether a folder, which need not exist, is that of the images or lies in it."""
        return folder.resolve().is_relative_to(self.spec.root.resolve())

    def missing(self, size: int, places: DataLocations) -> tuple[MissingFile, ...]:
        """Name the folder or table that does not stand where the card says."""
        wanted = [(self.spec.root, self.spec.root.is_dir())]
        if self.spec.table:
            wanted.append((self.spec.table, self.spec.table.is_file()))
        return tuple(MissingFile(path.name, place=path) for path, there in wanted if not there)

    def sizes(self, places: DataLocations) -> tuple[int, ...]:
        """Return none: any size is made from the files."""
        return ()

    def load(self, size: int, places: DataLocations) -> Mapping[str, Split]:
        """Open the splits at a size; `UserError` as `prepared`."""
        folder = prepare_task(self.spec, size).folder
        return {name: folder.split(name) for name in SPLITS}
