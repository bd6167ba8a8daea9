"""Features of a frozen backbone, computed once per weights and task."""

import functools
import hashlib
import json
import logging
import zipfile
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...baselines.weights.load import load_backbone
from ...baselines.weights.prepare import InputPreparation
from ...core.cache_limit import FEATURES, CacheEntry, cache_limit, feature_entries, make_room
from ...core.files import open_regular, write_atomic
from ...core.leases import claim_lock
from ...tasks.task import SPLITS
from .device_data import FoldSplits
from .model import outputs_of, place_model
from .protocol import EvalContext

_LOG = logging.getLogger(__name__)
FEATURE_VERSION = 1


@dataclass(frozen=True, eq=False)
class PooledFeatures:
    """Pooled features, float32 [n, features] by split, and the weights as in `LoadedBackbone`."""

    splits: dict[str, NDArray[np.float32]]
    weights: str

    @cached_property
    def pool(self) -> NDArray[np.float32]:
        """Features of train, val and test, in this order."""
        return np.concatenate([self.splits[name] for name in SPLITS])

    def select(
        self, job: EvalContext
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the features of the train subset, the val subset and the test split."""
        if isinstance(job.data, FoldSplits):
            return self.pool[job.subset.train], self.pool[job.subset.val], self.pool[job.data.rows.test]
        return (
            self.splits["train"][job.subset.train],
            self.splits["val"][job.subset.val],
            self.splits["test"],
        )


def features_of(job: EvalContext) -> PooledFeatures:
    """Return the features of a job: from memory, from the cache on disk, or computed now.

    Random weights have one entry per seed, loaded weights one for all.
    """
    path = job.cache / FEATURES / f"{_cache_key(job)}.npz"
    with claim_lock(path.with_suffix(".lock"), wait=True):  # another process may compute the same
        if (features := _read_cache(path)) is not None:
            _LOG.debug(f"features of {job.task.name} by {job.card.name}: from {path}")
            CacheEntry(path).mark_used()
            return features
        _LOG.debug(f"features of {job.task.name} by {job.card.name}: computing them")
        features = _compute_features(job)
        _write_cache(path, features)
    return _read_cache(path) or features  # another process may have made room already


def _write_cache(path: Path, features: PooledFeatures) -> None:
    """Write features, after removing the least recently used ones that exceed the limit.

    They stay float32: float16 changes which penalty validation chooses (docs/speed.md has figures).
    """
    content = {**features.splits, "weights": np.array(features.weights)}
    needed = sum(array.nbytes for array in content.values())
    others = [entry for entry in feature_entries(path.parents[1]) if entry.path != path]
    make_room(others, cache_limit(), needed)
    write_atomic(path, lambda file: np.savez(file, **content))  # type: ignore[arg-type]


def _cache_key(job: EvalContext) -> str:
    facts = [
        FEATURE_VERSION,
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
        *([job.card.arch_args] if job.card.arch_args else []),  # one file may fit two networks
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]


@functools.lru_cache(maxsize=4)  # the cells of a plan are sorted, so that neighbors share features
def _load_features(path: Path, _modified: int) -> PooledFeatures | None:
    try:
        with open_regular(path) as file, np.load(file, allow_pickle=False) as arrays:
            return PooledFeatures({name: arrays[name] for name in SPLITS}, str(arrays["weights"]))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):  # damaged: compute it again
        return None


def _read_cache(path: Path) -> PooledFeatures | None:
    try:
        return _load_features(path, path.stat().st_mtime_ns)
    except FileNotFoundError:  # never computed, or removed to make room
        return None


def _compute_features(job: EvalContext) -> PooledFeatures:
    """Run every split through the backbone once, without updating batch-norm statistics.

    Those of a fold are the task's own splits, so that all folds, and runs without folds, share one entry.
    """
    data = job.data.whole if isinstance(job.data, FoldSplits) else job.data
    backbone = load_backbone(job.card, job.cell.arch, job.cell.input_size, job.cell.seed)
    module = place_model(backbone.module.eval(), job.device)
    prepare = InputPreparation(job.card.contract, job.cell.input_size)
    splits = {name: outputs_of(module, prepare, data.images(name)).cpu().numpy() for name in SPLITS}
    return PooledFeatures(splits, backbone.weights)
