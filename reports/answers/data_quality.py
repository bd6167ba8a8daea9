"""Answer whether the numbers can be trusted: missing cells, warnings and flags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..analysis.flags import CHANCE_AUC, FEW_PER_CLASS, FEW_TEST, leaks, mean_auc
from ..analysis.influence_input import score_evidence
from ..analysis.report_input import LeaderboardRow, ReportInput, visible_fields
from ..analysis.verdicts import compute_verdicts
from ..elements.format import count_noun, join_words
from ..elements.pictures import INK, draw_panel, report_style
from ..elements.section import Figure, ReportAnswer
from ..elements.verdict_format import flagged_text, range_with_noun, refusals
from ..statistics.verdict_terms import FEW_GROUPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED_LEAKS = 3
"""Leaks in the answer; the section Leakage lists all."""


def data_quality_answer(results: ReportInput) -> ReportAnswer:
    """Answer from the leaks, the counts of cells and the warnings on averages."""
    checked = {name: sum(map(check, results.rows)) for name, check in _checks(results).items()}
    touched = {name: rows for name, rows in checked.items() if rows}
    figure = _figure(touched, len(results.rows)) if touched else None
    return ReportAnswer(
        "Can I trust these numbers?", _sentence(results, touched, tuple(checked)), "data-quality", figure
    )


def _checks(results: ReportInput) -> dict[str, Callable[[LeaderboardRow], bool]]:
    """Return the name of each problem, to follow "averages with", and its check."""
    records = {record.key: record for record in results.counted}
    known = score_evidence(results)
    audited = {audit.task for audit in results.leakage_audits if audit.near_test}
    doubted = {audit.task for audit in results.leakage_audits if audit.doubts or audit.shortcut_clauses}
    lost = {visible_fields(item.cell) for item in results.missing}

    def edge(row: LeaderboardRow) -> bool:
        return any(choice.at_edge for key in row.keys for choice in records[key].choices)

    def has_undefined_score(row: LeaderboardRow) -> bool:
        stat = row.stats.get(results.primary)
        return stat is None or stat.n < len(row.seeds)

    def versions(row: LeaderboardRow) -> bool:
        return len({tuple(sorted(records[key].provenance.versions.items())) for key in row.keys}) > 1

    def has_leak(row: LeaderboardRow) -> bool:
        copies = [records[key].copies for key in row.keys]
        return row.task in audited or any(each.leak_clause for each in copies if each)

    def has_unknown_patients(row: LeaderboardRow) -> bool:
        copies = [records[key].copies for key in row.keys]
        return not results.generated(row.task) and any(not each or each.known < each.test for each in copies)

    def caveats(row: LeaderboardRow) -> bool:
        facts = results.tasks.get(row.task)
        return bool(facts and facts.caveats)

    def rare(row: LeaderboardRow) -> bool:
        counts = [records[key].counts for key in row.keys]
        return any(n < FEW_PER_CLASS for each in counts if each for n in each.train_per_class)

    return {
        "test images, or their patients, in train or val": has_leak,
        "look-alikes, unclear patients or shortcuts found by an audit": lambda row: row.task in doubted,
        "test images of unknown patients": has_unknown_patients,
        "known caveats of the task": caveats,
        "generated images": lambda row: results.generated(row.task),
        "weights that may have seen the task": lambda row: row.contaminated,
        "records that must not be mixed": lambda row: row.ambiguous,
        "failed or missing seeds": lambda row: visible_fields(row) in lost,
        "undefined scores": has_undefined_score,
        f"fewer than {FEW_TEST} test images of a class": lambda row: 0 < known[row].fewest < FEW_TEST,
        f"test images of fewer than {FEW_GROUPS} groups in a class": lambda row: (
            0 < known[row].fewest_groups < FEW_GROUPS
        ),
        f"fewer than {FEW_PER_CLASS} training images of a class": rare,
        "a perfect score": lambda row: 1 in known[row].values,
        "an AUC below chance": lambda row: mean_auc(row) < CHANCE_AUC,
        "no error estimate": lambda row: bool(known[row].problem),
        "a single seed": lambda row: len(row.seeds) == 1,
        "seeds computed with different package versions": versions,
        "a hyper-parameter at the edge of its grid": edge,
    }


def _sentence(results: ReportInput, touched: dict[str, int], checks: Sequence[str]) -> str:
    if not results.rows:
        return "No: no cell has finished."
    waiting = sum(item.reason != "failed" for item in results.missing)
    lost = [f"{len(results.failed):,} failed"] * bool(results.failed)
    lost += [f"{waiting:,} are missing"] * bool(waiting)
    finished = count_noun(len(results.counted_cells), "cell")
    cells = f"{finished} finished, {join_words(lost) or 'none failed and none is missing'}"
    seeds = range_with_noun((len(row.seeds) for row in results.rows), "seed")
    averages = count_noun(len(results.rows), "average")
    known = leaks(results)
    more = len(known) - NAMED_LEAKS
    rest = [f"{count_noun(more, 'more leak')} in the section Leakage"] * (more > 0)
    found = f"{'; '.join([*known[:NAMED_LEAKS], *rest])}. " if known else ""
    verdicts = compute_verdicts(results)
    if verdicts and all(verdict.barred for verdict in verdicts):
        found += f"No comparison here can have a verdict ({refusals(verdicts)}). "
    flagged = flagged_text(verdicts)
    end = f"{f' {flagged}' if flagged else ''}{_audit_coverage(results)}"
    if touched:
        doubts = join_words([f"{rows:,} with {name}" for name, rows in touched.items()])
        return f"{found}{cells}. Of {averages}, each over {seeds}, {doubts}.{end}"
    if flagged:
        return f"{cells}; {averages}, each over {seeds}.{end}"
    return (
        f"{cells}. {averages}, each over {seeds}, without any of the {len(checks)} problems checked: "
        f"{join_words(checks)}.{end}"
    )


def _audit_coverage(results: ReportInput) -> str:
    """Count the pairs of pretrained init and task that were audited for contamination."""
    weights = {record.key: record.hashes.weights for record in results.counted}
    pairs: dict[tuple[str, str], bool] = {}
    for row in results.rows:
        if not weights[row.keys[0]].startswith("random:"):
            searched = row.audit is not None and row.audit.measured is not None
            pairs[row.init, row.task] = pairs.get((row.init, row.task), True) and searched
    if not pairs:
        return ""
    looked = sum(pairs.values())
    of = f"{looked:,} of {count_noun(len(pairs), 'pair')} of pretrained init and task"
    rest = "" if looked == len(pairs) else "; for the others only the declared corpora are known"
    return f" Contamination was searched for in {of}{rest}."


def _figure(touched: dict[str, int], rows: int) -> Figure:
    names = list(touched)[::-1]

    def paint(axes: Axes) -> None:
        axes.barh(names, [rows] * len(names), color=INK, alpha=0.1, height=0.55)
        axes.barh(names, [touched[name] for name in names], color=INK, alpha=0.6, height=0.55)
        for place, name in enumerate(names):
            share = f"{touched[name]:,} of {rows:,}"
            axes.annotate(share, (rows, place), (6, 0), textcoords="offset points", va="center")
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.tick_params(axis="both", length=0, labelbottom=False)
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)

    numbers = ", ".join(f"{number:,} with {name}" for name, number in touched.items())
    with report_style():
        alt = f"Bars: of {count_noun(rows, 'average')}, {numbers}."
        panel = draw_panel(paint, 220, 74 + 20 * len(names), alt, tight=True)
    return Figure("answer-trust", "Number of averages with each warning.", (panel,))
