"""The file of each prepared image, for lists that stay on this machine."""

from ...core.errors import UserError
from ..pseudonymize import group_number, own_salt
from ..task import SPLITS
from .find import list_task_files
from .prepared import prepare_task
from .schema import FilesSpec

MOST_FRAMES = 10_000
"""Frames of a file that are looked up."""


def image_files(spec: FilesSpec, side: int) -> dict[str, list[str]]:
    """Return split -> path of each image relative to the images' folder; of later frames "PATH#FRAME".

    The arrays keep salted hashes of the paths only, so that the paths are those of the files that are there.

    Raises:
        UserError: card, table or files are wrong, or a file was removed.
    """
    lines = (prepare_task(spec, side).folder.path / "splits.csv").read_text().splitlines()[1:]
    images = [line.split(",")[:2] for line in lines]
    paths, salt = list_task_files(spec).paths, own_salt()
    wanted, found = {name for name, _ in images}, dict[str, str]()
    for frame in range(MOST_FRAMES):
        if len(found) == len(wanted):
            break
        for path in paths:
            image = f"{path}\0{frame}"  # as `SplitsAndLabels.names`
            name = f"{group_number(salt, spec.name, image):x}"
            if name in wanted:
                found[name] = f"{path}#{frame}" if frame else path
    if len(found) < len(wanted):
        raise UserError(
            f"{spec.name}: files were removed while they were listed: run the same command again."
        )
    return {split: [found[name] for name, part in images if part == split] for split in SPLITS}
