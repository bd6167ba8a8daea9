"""Merge the fold records of a cross-validated repeat into one record.

The score of a repeat is the mean of the scores of its folds: scores of different networks are not comparable,
so that one AUC of all of them together would be biased (LeDell, Petersen & van der Laan 2015, Electronic
Journal of Statistics 9:1583).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from ...benchmark.schema.records import ImageCounts, Record
from .report_input import FOLD_SEPARATOR, IncompleteRepeat, folds_of

_Scores = Mapping[str, float | None]


def merge_folds(
    repeats: Iterable[Mapping[int, Record]],
) -> tuple[tuple[Record, ...], dict[str, tuple[Record, ...]], tuple[IncompleteRepeat, ...]]:
    """Return one record per repeat, its fold records by its key, and the repeats that lack folds.

    Args:
        repeats: ok score records of a repeat by the index of their fold; a record without folds, as index
            0, is returned as it is.
    """
    whole: list[Record] = []
    members, incomplete = {}, []
    for by_index in repeats:
        first = next(iter(by_index.values()))
        count = folds_of(first.cell)
        if not count:
            whole.append(first)
            continue
        if lacking := tuple(index for index in range(count) if index not in by_index):
            incomplete.append(IncompleteRepeat(first.cell, lacking))
            continue
        ordered = tuple(by_index[index] for index in range(count))
        merged = merge_repeat(ordered)
        whole.append(merged)
        members[merged.key] = ordered
    return tuple(sorted(whole, key=lambda record: record.key)), members, tuple(incomplete)


def merge_repeat(folds: Sequence[Record]) -> Record:
    """Return the record of a repeat, from those of its folds in order.

    Metrics are means over folds, None where a fold has none; training images are means, test images and
    seconds sums, choices those of all folds. The curve is that of the first fold.
    """
    first = folds[0]
    subsets = "".join(record.hashes.subset for record in folds)
    undefined: dict[str, str] = {}
    for record in folds[::-1]:
        undefined |= record.undefined
    return msgspec.structs.replace(
        first,
        key=FOLD_SEPARATOR.join(record.key for record in folds),
        metrics=_mean_scores([record.metrics for record in folds]),
        undefined=undefined,
        per_class=_mean_tables([record.per_class for record in folds]),
        val_metrics=_mean_scores([record.val_metrics for record in folds]),
        beside=_mean_tables([record.beside for record in folds]),
        choices=tuple(choice for record in folds for choice in record.choices),
        counts=_merge_counts([record.counts for record in folds if record.counts]),
        hashes=msgspec.structs.replace(first.hashes, subset=hashlib.sha256(subsets.encode()).hexdigest()),
        copies=next((r.copies for r in folds if r.copies and r.copies.leak_clause), first.copies),
        finished=max(record.finished for record in folds),
        seconds=sum(record.seconds for record in folds),
        peak_memory_mb=max(record.peak_memory_mb for record in folds),
        passes=min(record.passes for record in folds),
        notes=tuple(dict.fromkeys(note for record in folds for note in record.notes)),
        predictions="",
        content="",
    )


def _mean_scores(folds: Sequence[_Scores]) -> dict[str, float | None]:
    """Return the mean over folds of each score; None where a fold has none."""
    found: dict[str, float | None] = {}
    for name in dict.fromkeys(name for scores in folds for name in scores):
        known = [value for scores in folds if (value := scores.get(name)) is not None]
        found[name] = float(np.mean(known)) if len(known) == len(folds) else None
    return found


def _mean_tables(folds: Sequence[Mapping[str, _Scores]]) -> dict[str, dict[str, float | None]]:
    names = dict.fromkeys(name for table in folds for name in table)
    return {name: _mean_scores([table.get(name, {}) for table in folds]) for name in names}


def _merge_counts(folds: Sequence[ImageCounts]) -> ImageCounts | None:
    if not folds:
        return None

    def mean(values: Iterable[int]) -> int:
        return round(float(np.mean([*values])))

    def mean_each(values: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
        return tuple(map(mean, zip(*values, strict=True)))

    return ImageCounts(
        train=mean(counts.train for counts in folds),
        val=mean(counts.val for counts in folds),
        test=sum(counts.test for counts in folds),
        train_per_class=mean_each(counts.train_per_class for counts in folds),
        val_per_class=mean_each(counts.val_per_class for counts in folds),
    )
