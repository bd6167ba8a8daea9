"""Features of a frozen backbone: computed once per weights and task, shared by all fractions and seeds."""

import functools
import hashlib
import json
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...baselines.weights.load import load_backbone
from ...baselines.weights.prepare import Prepare
from ...core.files import claim, open_regular, write_atomic
from ...tasks.task import SPLITS
from .model import outputs_of, placed
from .protocol import Job

VERSION = 1


@dataclass(frozen=True, eq=False)
class Features:
    """Pooled features of a task's splits.

    Attributes:
        splits: float32 [n, features] by split name.
        weights: what made them, as `Backbone.weights` says.
    """

    splits: dict[str, NDArray[np.float32]]
    weights: str

    def seen(self, job: Job) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the features of the train subset, the val subset and the test split."""
        return (
            self.splits["train"][job.subset.train],
            self.splits["val"][job.subset.val],
            self.splits["test"],
        )


def features_of(job: Job) -> Features:
    """Return the features that a job needs: from memory, from the cache on disk, or computed now.

    Random weights differ by seed and so have one entry per seed; loaded weights have one for all.
    """
    path = job.cache / "features" / f"{_key(job)}.npz"
    with claim(path.with_suffix(".lock"), wait=True):  # another process may be computing the same
        if (kept := _read(path)) is not None:
            return kept
        features = _compute(job)
        content = {**features.splits, "weights": np.array(features.weights)}
        write_atomic(path, lambda file: np.savez(file, **content))  # type: ignore[arg-type]
    return _read(path) or features


def _key(job: Job) -> str:
    facts = [
        VERSION,
        job.data.fingerprint,
        job.task.name,
        job.cell.size,
        job.cell.input_size,
        job.cell.arch,
        job.card.identity,
        job.card.sha256,
        version("torch"),
        version("timm"),
        job.cell.seed if job.card.seeded else -1,
        msgspec.to_builtins(job.card.contract),
        job.device.partition(":")[0],
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]


@functools.lru_cache(maxsize=4)  # the cells of a plan come sorted, so that the last few are the next few
def _from_disk(path: Path, _modified: int) -> Features | None:
    try:
        with open_regular(path) as file, np.load(file, allow_pickle=False) as arrays:
            return Features({name: arrays[name] for name in SPLITS}, str(arrays["weights"]))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):  # damaged: compute it again
        return None


def _read(path: Path) -> Features | None:
    return _from_disk(path, path.stat().st_mtime_ns) if path.exists() else None


def _compute(job: Job) -> Features:
    """Run every split through the backbone once; batch-norm statistics stay those of the init."""
    backbone = load_backbone(job.card, job.cell.arch, job.cell.input_size, job.cell.seed)
    module = placed(backbone.module.eval(), job.device)
    prepare = Prepare(job.card.contract, job.cell.input_size)
    splits = {name: outputs_of(module, prepare, job.data.images(name)).cpu().numpy() for name in SPLITS}
    return Features(splits, backbone.weights)
