"""Scores per independent task, init and seed, their differences and ranks over tasks."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..statistics.influence import _Floats
from ..statistics.over_tasks import MeanOverTasks, RankTable, mean_over, rank_scores
from .report_input import LeaderboardRow, ReportInput

ScoresBySeed = dict[int, float]
"""Seed -> primary metric."""
RowsByTask = dict[str, list[LeaderboardRow]]


@dataclass(frozen=True)
class ComparableSetting:
    """Fields that tasks must share to be averaged; generated images never mix with real ones."""

    protocol: str
    arch: str
    size: int
    input_size: int
    fraction: float
    generated: bool


@dataclass(frozen=True, eq=False)
class SettingScores:
    """Scores of one setting.

    Attributes:
        units: independent tasks: name -> task -> init -> scores by seed. Tasks of one source group are one
            unit, since their images have one origin.
        keys: (task, init) -> record keys.
        left_out: tasks where rows that must not be mixed share an init.
    """

    setting: ComparableSetting
    units: dict[str, dict[str, dict[str, ScoresBySeed]]]
    keys: dict[tuple[str, str], tuple[str, ...]]
    left_out: tuple[str, ...]

    @property
    def inits(self) -> tuple[str, ...]:
        """Inits of all tasks, in the order of the rows."""
        return tuple(dict.fromkeys(i for tasks in self.units.values() for t in tasks.values() for i in t))

    def differences(self, a: str, b: str) -> dict[str, float]:
        """Return unit -> mean over its tasks of the mean of a - b over their common seeds."""
        by_unit = {
            unit: [m for scores in tasks.values() if (m := _difference(scores, a, b)) is not None]
            for unit, tasks in self.units.items()
        }
        return {unit: float(np.mean(means)) for unit, means in by_unit.items() if means}

    def tasks_of(self, *inits: str) -> tuple[str, ...]:
        """Return the tasks on which all of `inits` have a seed in common."""
        return tuple(
            task
            for tasks in self.units.values()
            for task, scores in tasks.items()
            if common_seeds(scores, inits)
        )

    def matrix(self, inits: Sequence[str]) -> _Floats:
        """Return scores [units, inits] over common seeds, for units that have all of `inits`."""
        lines = []
        for tasks in self.units.values():
            shared = [(scores, seeds) for scores in tasks.values() if (seeds := common_seeds(scores, inits))]
            if shared:
                means = [[np.mean([s[i][seed] for seed in seeds]) for s, seeds in shared] for i in inits]
                lines.append(np.mean(means, axis=1))
        return np.array(lines, dtype=float).reshape(len(lines), len(inits))


@dataclass(frozen=True, eq=False)
class OverallDifference:
    """Difference a - b of two inits over the tasks of one setting.

    Attributes:
        tasks: those on which both have a seed in common.
        mean: difference over independent tasks.
        keys: record keys.
    """

    setting: ComparableSetting
    a: str
    b: str
    tasks: tuple[str, ...]
    mean: MeanOverTasks
    keys: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class InitRanking:
    """Ranks of inits, in the order of the run, over the common tasks of one setting."""

    setting: ComparableSetting
    inits: tuple[str, ...]
    tasks: tuple[str, ...]
    ranks: RankTable


@lru_cache(maxsize=4)  # several sections need it
def overall_differences(results: ReportInput) -> tuple[OverallDifference, ...]:
    """Compare every two inits over tasks, in every setting, in the order of the rows.

    Tasks that the weights of an init have seen, as declared or as found, do not count for that init; tasks
    whose test images are mostly in train or val count for none.
    """
    found = []
    for each in gather_scores(results):
        for place, a in enumerate(each.inits):
            for b in each.inits[place + 1 :]:
                found.append(difference_over_tasks(each, a, b))
    return tuple(filter(None, found))


def difference_over_tasks(scores: SettingScores, a: str, b: str) -> OverallDifference | None:
    """Compare two inits over the tasks of one setting; None without a task on which both have a seed."""
    differences = scores.differences(a, b)
    if not differences:
        return None
    tasks = scores.tasks_of(a, b)
    keys = tuple(key for task in tasks for init in (a, b) for key in scores.keys[task, init])
    return OverallDifference(
        scores.setting, a, b, tasks, mean_over(np.array(list(differences.values()))), keys
    )


@lru_cache(maxsize=4)
def rank_inits(results: ReportInput) -> tuple[InitRanking, ...]:
    """Rank the inits of every setting with at least two of them and a task that all share."""
    found = []
    for each in gather_scores(results):
        inits = each.inits
        scores = each.matrix(inits)
        if len(inits) > 1 and len(scores):
            ranks = rank_scores(results.sign * scores)
            found.append(InitRanking(each.setting, inits, each.tasks_of(*inits), ranks))
    return tuple(found)


@lru_cache(maxsize=4)
def gather_scores(results: ReportInput) -> tuple[SettingScores, ...]:
    """Gather the primary metric of every row that may be compared, setting by setting."""
    scores = results.scores_of(results.primary)
    settings: dict[ComparableSetting, RowsByTask] = defaultdict(lambda: defaultdict(list))
    for row in results.rows:
        generated = results.generated(row.task)
        where = ComparableSetting(row.protocol, row.arch, row.size, row.input_size, row.fraction, generated)
        settings[where][row.task].append(row)
    return tuple(_gather_setting(results, where, tasks, scores) for where, tasks in settings.items())


def _gather_setting(
    results: ReportInput, where: ComparableSetting, tasks: RowsByTask, scores: dict[str, float | None]
) -> SettingScores:
    units: dict[str, dict[str, dict[str, ScoresBySeed]]] = defaultdict(dict)
    keys: dict[tuple[str, str], tuple[str, ...]] = {}
    left_out = []
    for task, rows in tasks.items():
        if len({row.init for row in rows}) < len(rows) or len({row.setting for row in rows}) > 1:
            left_out.append(task)
            continue
        unit = results.unit_of(task)
        clean = [row for row in rows if not row.inconclusive]
        units[unit][task] = {row.init: row.by_seed(scores) for row in clean}
        keys |= {(task, row.init): row.keys for row in clean}
    return SettingScores(where, dict(units), keys, tuple(left_out))


def common_seeds(scores: dict[str, ScoresBySeed], inits: Iterable[str]) -> list[int]:
    """Return the seeds that all of `inits` have, ascending."""
    found = [set(scores.get(init, ())) for init in inits]
    return sorted(set.intersection(*found)) if found else []


def _difference(scores: dict[str, ScoresBySeed], a: str, b: str) -> float | None:
    seeds = common_seeds(scores, (a, b))
    return float(np.mean([scores[a][seed] - scores[b][seed] for seed in seeds])) if seeds else None
