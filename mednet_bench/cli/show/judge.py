"""Verdicts of `judge` as text for a terminal, and as facts for programs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.errors import one_line
from ...core.text_tables import tabulate
from ...reports.judge.score_verdict import ScoreVerdict
from ...reports.statistics.metric_influence import JUDGED_METRICS
from ...reports.statistics.paired import ALPHA

FORMAT = 1
"""Of the JSON document."""
_HEADS = ("task", "verdict", "difference", "95 % interval", "P(better)", "A", "B", "n", "seeds", "flags")


def judge_text(verdicts: Mapping[str, ScoreVerdict], a: Path, b: Path) -> str:
    """Return a line per fact for one task, a table for several.

    Args:
        verdicts: task -> its verdict.
        a: file of A.
        b: file of B.
    """
    files = [f"A: {one_line(str(a))}", f"B: {one_line(str(b))}"]
    if len(verdicts) == 1:
        return "\n".join([*_task_lines(next(iter(verdicts.values()))), *files])
    table = tabulate([_task_row(task, verdict) for task, verdict in verdicts.items()], _HEADS)
    first = next(iter(verdicts.values()))
    title = JUDGED_METRICS[first.metric].full_title
    words = {each.estimand: None for each in verdicts.values()}
    notes = [
        f"{title}, margin {first.margin:g}; verdicts are corrected over {len(verdicts)} tasks, intervals not",
        *(f"estimand: {estimand}" for estimand in words),
        *(line for task, each in verdicts.items() for line in _flag_lines(each, f"{one_line(task)}, ")),
    ]
    return "\n".join([table, "", *notes, *files])


def _interval_text(verdict: ScoreVerdict) -> str:
    low, high = verdict.interval
    return f"{low:+.4f} to {high:+.4f}" if low == low else "unknown"


def _probability_text(value: float) -> str:
    return f"{value:.2f}" if value == value else "unknown"


def _task_row(task: str, verdict: ScoreVerdict) -> list[str]:
    return [
        task,
        verdict.verdict,
        f"{verdict.difference:+.4f}",
        _interval_text(verdict),
        _probability_text(verdict.p_better),
        f"{verdict.value_a:.4f}",
        f"{verdict.value_b:.4f}",
        f"{verdict.n:,}",
        f"{verdict.seeds}",
        ", ".join(dict.fromkeys(flag.name for flag in verdict.flags)),
    ]


def _task_lines(verdict: ScoreVerdict) -> list[str]:
    title, margin = JUDGED_METRICS[verdict.metric].full_title, f"{verdict.margin:g}"
    groups = f" in {verdict.groups:,} groups" if verdict.groups else ""
    probabilities = (verdict.p_better, verdict.p_within_margin, verdict.p_worse)
    better, within, worse = map(_probability_text, probabilities)
    return [
        f"verdict: {verdict.verdict}",
        f"difference A - B: {verdict.difference:+.4f} (95 % interval {_interval_text(verdict)})",
        f"P(better) {better}, P(within {margin}) {within}, P(worse) {worse}; "
        f"better and worse by more than {margin}",
        f"{title}: A {verdict.value_a:.4f}, B {verdict.value_b:.4f}",
        f"n: {verdict.n:,} test images{groups}",
        f"seeds: {verdict.seeds}",
        f"estimand: {verdict.estimand}",
        *_flag_lines(verdict),
    ]


def _flag_lines(verdict: ScoreVerdict, place: str = "") -> list[str]:
    return [f"flag: {place}{flag.name}: {flag.reason}" for flag in verdict.flags]


def judge_facts(verdicts: Mapping[str, ScoreVerdict]) -> dict[str, Any]:
    """Return the JSON document: a list of objects with the attributes of `ScoreVerdict`."""
    kept = [name for name in ScoreVerdict.__dataclass_fields__ if name != "paired"]
    lines = [
        {"task": task, **{name: getattr(each, name) for name in kept}} for task, each in verdicts.items()
    ]
    return {"format": FORMAT, "alpha": ALPHA, "verdicts": lines}
