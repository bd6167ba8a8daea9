"""Folds of a cross-validated task: those of cells, and what is said of them before the first cell."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ...tasks.task import SPLITS, Split
from ..overlap.copies import copies_in_fold
from ..overlap.exact import Digests, image_digests
from ..schema.plan import Cell, Fold, PlannedCell
from ..schema.split_overlap import SplitOverlap
from ..training.device_data import FoldSplits, PooledSplits
from ..training.folds import FoldRows, check_folds, choose_fold_subset, fold_rows, pool_splits
from ..training.subsets import LabelSubset
from .planner import ResolvedPlan


@dataclass(eq=False)
class TaskFolds:
    """Images of a cross-validated task, and its folds, each drawn once.

    Attributes:
        whole: all images, on the device once.
        val_share: share of val in the train and val of a fold.
    """

    whole: PooledSplits
    val_share: float
    _drawn: dict[tuple[Fold, int], tuple[FoldRows, SplitOverlap]] = field(default_factory=dict)

    @cached_property
    def pool(self) -> Split:
        """Labels, groups and columns of all images."""
        return pool_splits(self.whole.splits)

    @cached_property
    def marks(self) -> Digests:
        """Digest of each image of the pool, [n]."""
        return np.concatenate([image_digests(self.whole.splits[name].images) for name in SPLITS])

    def choose_data(self, cell: Cell) -> tuple[FoldSplits, LabelSubset]:
        """Return the splits of a cell's fold, and the labels that the cell may use."""
        if not isinstance(cell.view, Fold):
            raise AssertionError("a cell of a cross-validated task has a fold")
        place = cell.view, cell.seed
        if place not in self._drawn:
            self._drawn[place] = self._draw(*place)
        rows, copies = self._drawn[place]
        subset = choose_fold_subset(self.pool, rows, cell.labels, cell.seed, bool(cell.resampled))
        return FoldSplits.from_pool(self.whole, self.pool, rows, copies), subset

    def _draw(self, view: Fold, seed: int) -> tuple[FoldRows, SplitOverlap]:
        rows = fold_rows(self.pool, view, seed, self.val_share)
        mine = {name: getattr(rows, name) for name in SPLITS}
        splits = {name: self.pool.at(index) for name, index in mine.items()}
        return rows, copies_in_fold(splits, {name: self.marks[index] for name, index in mine.items()})


def fold_warnings(resolved: ResolvedPlan, waiting: list[PlannedCell]) -> list[str]:
    """Check the folds of waiting cells; name the tasks that `--folds`, or its default, decides on.

    Raises:
        UserError: a task has too few patients for its folds.
    """
    request, shares = resolved.request, resolved.val_shares
    warnings = list(resolved.fold_notes or ())
    for name, size in sorted({(p.cell.task, p.cell.size) for p in waiting if p.cell.task in shares}):
        classes, pool = resolved.tasks[name].classes, resolved.load_pool(name, size)
        warnings.append(check_folds(name, classes, pool, resolved.folds, request.repeat_seeds, shares[name]))
    others = ", ".join(sorted(resolved.tasks.keys() - shares.keys()))
    if others and request.folds > 1:
        warnings.append(f"--folds is ignored for {others}: the test split of the data stays.")
    return [warning for warning in warnings if warning]
