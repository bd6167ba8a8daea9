"""Content of the cache by kind, and what it takes to make each kind again."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from ..baselines.zoo.card import FAMILY, zoo_cards
from ..core.cache_limit import FEATURES, CacheEntry, cache_limit, feature_entries
from ..core.files import cache_folder, read_regular, scratch_folder
from ..core.text_tables import tabulate
from ..tasks.catalog import catalog
from ..tasks.sources.medmnist import SUFFIXES
from ..tasks.task import DataLocations


@dataclass(frozen=True)
class CacheKind:
    """Entries of one kind.

    Attributes:
        name: as the option of `cache clear`, without dashes.
        folder: that holds them.
        entries: what can be removed.
        again: how they are made again.
        costly: whether that takes hours, or files that may be gone, so that removing must be confirmed.
    """

    name: str
    folder: Path
    entries: tuple[CacheEntry, ...]
    again: str
    costly: bool = False

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(entry.size for entry in self.entries)

    @property
    def summary(self) -> str:
        """Number and size of the entries, e.g. "features: 3 in 1.20 GB"."""
        return f"{self.name}: {len(self.entries)} in {self.size / 1e9:.2f} GB"


def _features() -> CacheKind:
    scratch = scratch_folder()
    again = "computed by the next run that needs them"
    return CacheKind("features", scratch / FEATURES, tuple(feature_entries(scratch)), again)


def _mednets() -> CacheKind:
    folder = cache_folder() / "mednet"
    entries = (
        CacheEntry(path, (path.with_suffix(".json"),)) for path in sorted(folder.glob("*.safetensors"))
    )
    again = "pretrained anew, up to hours each, if their source data are still there"
    return CacheKind("mednets", folder, tuple(entries), again, costly=True)


def _prepared() -> CacheKind:
    folder = cache_folder() / "files"
    notes: dict[str, list[Path]] = {}
    for note in folder.glob("*.json"):  # each names the folder of its arrays
        with suppress(OSError, ValueError):
            notes.setdefault(msgspec.json.decode(read_regular(note), type=str), []).append(note)
    entries = (
        CacheEntry(path.parent, tuple(notes.get(path.parent.name, ())))
        for path in sorted(folder.glob("*/manifest.json"))
    )
    again = "decoded anew from your files, if these are still there"
    return CacheKind("prepared", folder, tuple(entries), again, costly=True)


def _hashes() -> CacheKind:
    folder = cache_folder()
    found = (CacheEntry(folder / name) for name in ("hashes", "leakage") if (folder / name).is_dir())
    return CacheKind("hashes", folder, tuple(found), "files and images are hashed again")


def _downloads() -> CacheKind:
    """List published files in the medmnist package's folder; those in a data folder are the user's."""
    places = DataLocations()
    folder = places.medmnist_cache
    names = [task.name for task in catalog(places).values() if task.family == "medmnist"]
    paths = (folder / f"{name}{suffix}.npz" for name in names for suffix in SUFFIXES.values())
    entries = (
        CacheEntry(path, lock=path.with_name(f".{path.name}.lock")) for path in paths if path.is_file()
    )
    again = "downloaded anew; the medmnist package uses this folder too"
    return CacheKind("downloads", folder, tuple(entries), again, costly=True)


def _checkpoints() -> CacheKind:
    """List downloaded public checkpoints; those in a data folder are the user's."""
    folder = cache_folder() / FAMILY
    entries = (
        CacheEntry(folder / name, lock=file.with_name(f".{file.name}.lock"))
        for name, card in zoo_cards().items()
        if (folder / name).is_dir() and (file := folder / name / card.path)
    )
    again = "downloaded anew, if their makers still publish them"
    return CacheKind("checkpoints", folder, tuple(entries), again, costly=True)


CACHE_KINDS = {
    "features": _features,
    "mednets": _mednets,
    "prepared": _prepared,
    "hashes": _hashes,
    "downloads": _downloads,
    "checkpoints": _checkpoints,
}
"""Name of a kind to the function that lists it."""


def cache_facts() -> dict[str, Any]:
    """Return the kinds with their entries, sizes in bytes and last use, and the limit of the features."""
    limit = cache_limit()
    kinds = [
        {
            "kind": kind.name,
            "entries": len(kind.entries),
            "bytes": kind.size,
            "last_used": _iso_time(kind.entries),
            "again": kind.again,
            "folder": str(kind.folder),
        }
        for kind in (listing() for listing in CACHE_KINDS.values())
    ]
    return {"features_limit_bytes": limit if limit < float("inf") else None, "kinds": kinds}


def _iso_time(entries: Iterable[CacheEntry]) -> str | None:
    seconds = max((entry.last_used for entry in entries), default=0.0)
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


def cache_text(facts: Mapping[str, Any]) -> str:
    """Return a table of the kinds, their folders, and the limit of the features."""
    rows = [
        [
            kind["kind"], f"{kind['entries']:,}", f"{kind['bytes'] / 1e9:.2f}", kind["last_used"] or "",
            kind["again"],
        ]
        for kind in facts["kinds"]
    ]  # fmt: skip
    table = tabulate(rows, ["kind", "entries", "GB", "last used", "once removed"])
    folders = [f"{kind['kind']:11}  {kind['folder']}" for kind in facts["kinds"]]
    limit = facts["features_limit_bytes"]
    most = "have no limit" if limit is None else f"take at most {limit / 1e9:g} GB"
    rule = f"features {most} (MEDNET_BENCH_CACHE_GB); the least recently used are removed first"
    return "\n".join([table, "", *folders, "", rule])


def remove_entries(kind: CacheKind) -> str:
    """Remove the entries of a kind but those in use; return a line with what was removed and kept."""
    gone = [(entry, size) for entry, size in ((e, e.size) for e in kind.entries) if entry.remove()]
    line = f"{kind.name}: removed {len(gone)}, {sum(size for _, size in gone) / 1e9:.2f} GB"
    kept = len(kind.entries) - len(gone)
    return f"{line}; {kept} in use are kept" if kept else line
