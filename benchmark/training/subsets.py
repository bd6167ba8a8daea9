"""Label subsets of train and validation: nested, stratified, and with whole groups."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...core.files import write_bytes
from ...tasks.task import Split, Task
from ..schema.plan import LabelBudget, LabelsPerClass

_Index = NDArray[np.int64]
LEAST_PER_CLASS = 2
"""Images per class (positives and negatives of a multilabel class) in every subset, if available."""


@dataclass(frozen=True, eq=False)
class LabelSubset:
    """Ascending indices of a (task, fraction, seed) in train and val, with "sha256:..." of both.

    An index occurs several times in a resample.
    """

    train: _Index
    val: _Index
    digest: str


def choose_subset(
    train: Split, val: Split, labels: LabelBudget, seed: int, resampled: bool = False
) -> LabelSubset:
    """Choose the subset of a label budget; with one seed a smaller fraction is part of a larger one.

    Fewer labels per class are likewise part of more, see `_take_shots`.

    Args:
        train: its `labels` are [n], or [n, classes] of 0 and 1.
        val: likewise.
        labels: share of both splits, in (0, 1], or number per class in each.
        seed: decides which images; all inits of a seed have the same.
        resampled: draw groups with replacement, from all of each split: a stratified bootstrap sample. A
            smaller fraction is part of a larger one, but the distinct images of all are not the whole split.
    """
    parts = [
        _take_shots(split, labels.count, np.random.default_rng([seed, place]))
        if isinstance(labels, LabelsPerClass)
        else _take(split, labels, np.random.default_rng([seed, place]), resampled)
        for place, split in enumerate((train, val))
    ]
    return LabelSubset(parts[0], parts[1], subset_digest(*parts))


def subset_digest(*parts: _Index) -> str:
    """Hash lists of indices, in order: "sha256:..."."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part.astype("<i8").tobytes())
    return f"sha256:{digest.hexdigest()}"


def subset_size(task: Task, count: int, labels: LabelBudget) -> int:
    """Return how many of `count` images `choose_subset` takes, from the card alone.

    Exact without groups where the share holds each class at least `LEAST_PER_CLASS` times, and where each
    class has as many images as are wanted of it; of a multilabel task with labels per class an upper bound.
    """
    if isinstance(labels, LabelsPerClass):
        return min(count, labels.count * len(task.classes) * (2 if task.kind == "multilabel" else 1))
    least = 1 if task.kind == "multilabel" else LEAST_PER_CLASS * len(task.classes)
    return min(count, max(round(labels * count), least))


def one_hot(labels: NDArray[np.int64], classes: int = 0) -> NDArray[np.bool_]:
    """Return labels as [n, classes] booleans; multilabel labels have this shape already."""
    if labels.ndim == 2:
        return labels.astype(bool)
    width = max(classes, int(labels.max(initial=-1)) + 1)
    return labels[:, None] == np.arange(width)


def _take(split: Split, fraction: float, rng: np.random.Generator, resampled: bool) -> _Index:
    """Take whole groups in a stratified random order until the share of images is reached."""
    if not len(split):
        return np.zeros(0, np.int64)
    groups = (
        np.arange(len(split)) if split.groups is None else np.unique(split.groups, return_inverse=True)[1]
    )
    member = one_hot(split.labels)  # [images, classes]
    counts = np.zeros((int(groups.max()) + 1, member.shape[1]))
    np.add.at(counts, groups, member)  # [groups, classes]
    sizes = np.bincount(groups)
    order = _bootstrap_order(counts, sizes, rng) if resampled else stratified_order(counts, rng)
    reached = np.cumsum(sizes[order])
    count = round(fraction * len(split))
    places = np.zeros(len(order), bool)
    places[: int(np.searchsorted(reached, count)) + 1 if count else 0] = True
    places[_required_places(counts, sizes, order, multilabel=split.labels.ndim == 2)] = True
    times = np.bincount(order[places], minlength=len(counts))  # how often each group is taken
    return np.repeat(np.arange(len(split)), times[groups])


def _take_shots(split: Split, shots: int, rng: np.random.Generator) -> _Index:
    """Take so many images of each class, all if it has fewer, from as many groups as possible.

    Images are in one random order, the first image of every group before any second one, and of each class
    the first are taken: of a multilabel task the first with and the first without each finding.
    """
    if not len(split):
        return np.zeros(0, np.int64)
    groups = np.arange(len(split)) if split.groups is None else split.groups
    order = rng.permutation(len(split))
    by_group = order[np.argsort(groups[order], kind="stable")]
    _, first, size = np.unique(groups[by_group], return_index=True, return_counts=True)
    rank = np.empty(len(split), np.int64)  # of an image within its group, in the random order
    rank[by_group] = np.arange(len(split)) - np.repeat(first, size)
    order = order[np.argsort(rank[order], kind="stable")]
    member = one_hot(split.labels)[order]
    sides = np.concatenate([member, ~member], axis=1) if split.labels.ndim == 2 else member
    return np.sort(order[(sides & (sides.cumsum(axis=0) <= shots)).any(axis=1)])


def _bootstrap_order(counts: NDArray[np.float64], sizes: _Index, rng: np.random.Generator) -> _Index:
    """Draw groups with replacement until all images are replaced; then each once, for the rarest classes."""
    rounds: list[_Index] = []
    while sum(int(sizes[drawn].sum()) for drawn in rounds) < sizes.sum():
        rounds.append(stratified_order(counts, rng, resampled=True))
    return np.concatenate([*rounds, stratified_order(counts, rng)])


def stratified_order(
    counts: NDArray[np.float64], rng: np.random.Generator, resampled: bool = False
) -> _Index:
    """Order groups so that every prefix holds each stratum in proportion.

    A group's stratum is the class of which it holds the largest share: for a single image its class, for a
    multilabel image its rarest finding, or -1 without one.
    """
    total = np.maximum(counts.sum(axis=0), 1)
    stratum = np.where(counts.any(axis=1), (counts / total).argmax(axis=1), -1)
    drawn, position = [], []
    for value in np.unique(stratum):
        members = np.flatnonzero(stratum == value)
        drawn.append(rng.choice(members, len(members)) if resampled else rng.permutation(members))
        # ranks spread evenly over (0, 1); a random offset per stratum avoids lockstep
        position.append((np.arange(len(members)) + rng.random()) / len(members))
    return np.concatenate(drawn)[np.argsort(np.concatenate(position), kind="stable")]


def _required_places(
    counts: NDArray[np.float64], sizes: _Index, order: _Index, multilabel: bool
) -> list[int]:
    """Return the places in `order` for `LEAST_PER_CLASS`, equal for every fraction, so that subsets nest."""
    ordered = counts[order]
    sides = [ordered, sizes[order, None] - ordered] if multilabel else [ordered]
    chosen: set[int] = set()
    for side in sides:
        for column in side.T:
            holders = np.flatnonzero(column > 0)
            enough = int(np.searchsorted(np.cumsum(column[holders]), LEAST_PER_CLASS)) + 1
            chosen.update(holders[:enough].tolist())
    return sorted(chosen)


def write_manifest(folder: Path, name: str, subset: LabelSubset) -> None:
    """Write the manifest `subsets/NAME.json` (hash, counts, indices) into a run directory, once."""
    path = folder / "subsets" / f"{name}.json"
    if not path.exists():
        content = {"hash": subset.digest, "n_train": len(subset.train), "n_val": len(subset.val)}
        indices = {"train": subset.train.tolist(), "val": subset.val.tolist()}
        write_bytes(path, msgspec.json.encode({**content, **indices}))
