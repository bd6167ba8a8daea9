"""Side at which a task was prepared last; imports nothing heavy, as the options of a run need it."""

from contextlib import suppress

import msgspec

from ...core.files import cache_folder


class _SideOfTask(msgspec.Struct):
    """The fields of `PreparedManifest` that are read here."""

    task: str
    side: int


def newest_prepared_side(task: str) -> int | None:
    """Return the side in pixels at which a task was prepared or used last, None if it never was."""
    newest: tuple[float, int] | None = None
    for path in (cache_folder() / "files").glob("*/manifest.json"):
        with suppress(OSError, msgspec.MsgspecError):
            manifest = msgspec.json.decode(path.read_bytes(), type=_SideOfTask)
            if manifest.task == task:
                newest = max(newest or (0.0, 0), (path.stat().st_mtime, manifest.side))
    return newest[1] if newest else None
