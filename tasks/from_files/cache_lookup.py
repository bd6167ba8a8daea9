"""What the cache holds of a task from files, told at once: nothing is prepared, and no file is looked at."""

import msgspec

from ...core.files import cache_folder
from .prepared import PreparedManifest


def last_prepared(task: str) -> tuple[PreparedManifest, ...]:
    """Return the newest manifest of a task for each side, smallest first.

    Card or files may have changed since; the next `validate` or `run` prepares them anew then.
    """
    found: dict[int, PreparedManifest] = {}
    paths = [(path.stat().st_mtime, path) for path in (cache_folder() / "files").glob("*/manifest.json")]
    for _, path in sorted(paths):
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=PreparedManifest)
        except (OSError, msgspec.MsgspecError):  # of another version, or damaged: it is not used either
            continue
        if manifest.task == task:
            found[manifest.side] = manifest
    return tuple(found[side] for side in sorted(found))
