"""Scores and verdicts as compact data for the interactive top of the page."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..analysis.report_input import LeaderboardRow, ReportInput, fold_keys, look_up_metric
from ..analysis.verdicts import Verdict, compute_verdicts
from ..answers.headline import pair_headlines, seen_from_the_other, sureness
from ..answers.pair_summary import pair_summaries
from ..elements.format import GENERATED, clean, format_percent, order_metrics
from ..elements.pictures import looks_of
from ..elements.verdict_flags import MEANINGS
from ..elements.verdict_format import flag_names
from ..elements.verdict_style import LOOKS
from ..statistics.metric_influence import JUDGED_METRICS

OTHER_METRICS_UP_TO = 600
"""Most verdicts on the primary metric for which those on other metrics are computed too."""
DIGITS = 6


@dataclass
class IndexedValues:
    """List of different values, by which the rows name them with a number."""

    values: list[Any] = field(default_factory=list)
    _places: dict[Any, int] = field(default_factory=dict)

    def place(self, value: Any) -> int:
        """Return the place of `value`, which is added if it is new."""
        if value not in self._places:
            self._places[value] = len(self.values)
            self.values.append(value)
        return self._places[value]


def explorer_data(results: ReportInput, task: str = "", init: str = "") -> str:
    """Return what the page's script draws as JSON without `<`; "" if no cell has finished.

    `rows` are averages: task, network, protocol, labels and init as places in their lists, then numbers of
    training and validation labels, seeds, mean and sd of each metric, and record keys. `verdicts` are by
    metric: places of both rows, difference, its interval, verdict, seeds, test images, detectable difference,
    flags, estimand, and the flag that excludes a verdict.

    Args:
        results: all results, so that verdicts are corrected over all tasks.
        task: keep the rows of one task only.
        init: put the pairs of this init first.
    """
    kept = [row for row in results.rows if task in ("", row.task)]
    if not kept:
        return ""
    metrics = [results.primary, *order_metrics({*results.metrics} - {results.primary})]
    lists: dict[str, IndexedValues] = defaultdict(IndexedValues)
    task_name = _task_name(results)
    rows = [_row(lists, row, metrics, task_name) for row in kept]
    places = {row: place for place, row in enumerate(kept)}
    verdicts = {
        metric: [_verdict(lists, places, verdict) for verdict in found if verdict.a in places]
        for metric, found in _judged(results, metrics)
    }
    looks = looks_of([row.init for row in results.rows])
    bare = {_init_name(row): row.init for row in kept}
    pairs = sorted(pair_headlines(results, task), key=lambda found: init not in ("", *found.pair))
    data = {
        "metrics": [_metric(results, name) for name in metrics],
        "inits": [
            {"name": name, "bare": bare[name], "color": looks[bare[name]].color}
            for name in lists["init"].values
        ],
        "labels": [[value, format_percent(value)] for value in lists["labels"].values],
        "pairs": [
            {"pair": found.pair, "text": found.text, "sure": sure}
            for each, sure in ((each, sureness(results, each)) for each in pairs)
            for found in (each, seen_from_the_other(results, each))
        ],
        "summaries": [
            [*each, protocol, arch, *texts]
            for (each, protocol, arch), texts in pair_summaries(results, task).items()
        ],
        "looks": {name: [look.glyph, look.color] for name, look in LOOKS.items()},
        "margin": results.margin,
        "rows": rows,
        "verdicts": verdicts,
        **{name: lists[name].values for name in ("task", "arch", "protocol", "estimand")},
        "flags": [[name, MEANINGS.get(name, "")] for name in lists["flags"].values],
        "modalities": {task: facts.modality for task, facts in results.tasks.items()},
        "notes": {row.task: GENERATED for row in results.rows if results.generated(row.task)},
    }
    return json.dumps(_clean(data), separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


def _clean(value: Any) -> Any:
    """Remove control characters from every text; a reader must see what a name is."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(key)): _clean(each) for key, each in value.items()}
    return [_clean(each) for each in value] if isinstance(value, (list, tuple)) else value


def _task_name(results: ReportInput) -> Callable[[LeaderboardRow], str]:
    """Return a namer of tasks, with the image size where a task was run at several."""
    sizes: dict[tuple[str, str, str], set[tuple[int, int]]] = defaultdict(set)
    for row in results.rows:
        sizes[row.task, row.arch, row.protocol].add((row.size, row.input_size))

    def name(row: LeaderboardRow) -> str:
        several = len(sizes[row.task, row.arch, row.protocol]) > 1
        return f"{row.task} ({row.size} px seen at {row.input_size} px)" if several else row.task

    return name


def _init_name(row: LeaderboardRow) -> str:
    """Name the init, with its variant where records must not be mixed."""
    return f"{row.init} [{row.variant}]" if row.ambiguous else row.init


def _row(
    lists: dict[str, IndexedValues],
    row: LeaderboardRow,
    metrics: Sequence[str],
    name: Callable[[LeaderboardRow], str],
) -> list[Any]:
    places = (
        ("task", name(row)), ("arch", row.arch), ("protocol", row.protocol),
        ("labels", row.fraction), ("init", _init_name(row)),
    )  # fmt: skip
    stats = [row.stats.get(metric) for metric in metrics]
    scores = [[_round(stat.mean), _round(stat.sd)] if stat and stat.n else None for stat in stats]
    keys = [key for of in row.keys for key in fold_keys(of)]
    counts = (_count(row.n_train), _count(row.n_val), len(row.seeds))
    return [*(lists[of].place(value) for of, value in places), *counts, scores, keys]


def _verdict(
    lists: dict[str, IndexedValues], places: dict[LeaderboardRow, int], verdict: Verdict
) -> list[Any]:
    return [
        places[verdict.a], places[verdict.b], _round(verdict.difference), *map(_round, verdict.interval),
        verdict.verdict, len(verdict.seeds), verdict.n_test, _round(verdict.mde),
        [lists["flags"].place(name) for name in flag_names(verdict)],
        lists["estimand"].place(verdict.estimand), verdict.barred.name if verdict.barred else "",
    ]  # fmt: skip


def _judged(results: ReportInput, metrics: Iterable[str]) -> Iterable[tuple[str, Sequence[Verdict]]]:
    """Yield the verdicts on the metric of the report; on others too where these are few."""
    primary = compute_verdicts(results)
    yield results.verdict_metric, primary
    if len(primary) <= OTHER_METRICS_UP_TO:
        for metric in metrics:
            if metric in JUDGED_METRICS and metric != results.verdict_metric:
                yield metric, compute_verdicts(results.choose_verdict_metric(metric))


def _metric(results: ReportInput, name: str) -> dict[str, Any]:
    facts = look_up_metric(name, results.metric_facts)
    return {"name": name, "title": facts.title_with_direction, "lower": facts.lower_is_better}


def _round(value: float) -> float | None:
    return round(value, DIGITS) if math.isfinite(value) else None


def _count(value: float) -> float | None:
    return round(value) if math.isfinite(value) else None
