"""`subgroups.csv`: AUC, gap and gain of every subgroup and label share as tidy data."""

import operator
from collections.abc import Iterator
from typing import Any

from ..analysis.report_input import LeaderboardRow, ReportInput
from ..analysis.subgroups import RowGap, SubgroupGain, SubgroupRow, subgroup_gains, subgroup_gaps
from ..statistics.paired import PairedDifference
from .csv_table import label_fields, rows_csv

SUBGROUP_COLUMNS = (
    "task", "arch", "protocol", "size", "input_size", "fraction", "column", "subgroup", "quantity", "init_a",
    "init_b", "value", "low", "high", "by_chance", "p_holm", "shown", "n_images", "n_positives", "n_groups",
    "n_seeds", "problem", "variant_a", "variant_b", "generated", "shots",
)  # fmt: skip


def subgroups_csv(results: ReportInput) -> str:
    """Write the file, or "" if no task has subgroups.

    `quantity` is "auc" (of a subgroup), "gap" (`subgroup` is then "LOWEST < HIGHEST"), "gain" (init_a minus
    init_b) or "against the others" (gain minus the others' mean gain). Unknown is empty; `n_positives` has
    one number per scored class.
    """
    found = subgroup_gaps(results)
    if not found:
        return ""
    lines = [line for each in found for line in _gap_lines(each)]
    lines += [line for each in subgroup_gains(results) for line in _gain_lines(each)]
    generated = ({"generated": results.generated(line["task"])} for line in lines)
    return rows_csv(SUBGROUP_COLUMNS, map(operator.or_, lines, generated))


_CsvLine = dict[str, Any]


def _row(row: LeaderboardRow, column: str) -> _CsvLine:
    return {
        "task": row.task, "arch": row.arch, "protocol": row.protocol, "size": row.size,
        "input_size": row.input_size, **label_fields(row.fraction), "column": column, "init_a": row.init,
        "variant_a": row.variant, "n_seeds": len(row.seeds),
    }  # fmt: skip


def _images(one: SubgroupRow) -> _CsvLine:
    positives, groups = " ".join(map(str, one.positives)), one.groups or ""
    return {"subgroup": one.value, "n_images": one.images, "n_positives": positives, "n_groups": groups}


def _gap_lines(each: RowGap) -> Iterator[_CsvLine]:
    common = _row(each.row, each.column)
    for one in each.strata:
        low, high = one.interval
        scored = {"quantity": "auc", "value": one.auc, "low": low, "high": high, "problem": one.problem}
        yield {**common, **_images(one), **scored}
    if each.gap and each.worst and each.best:
        size = {"value": each.gap.size, "low": each.gap.low, "high": each.gap.high}
        ends = f"{each.worst.value} < {each.best.value}"
        rest = {"subgroup": ends, "by_chance": each.gap.by_chance, "shown": each.shown}
        yield {**common, "quantity": "gap", **size, **rest}


def _gain_lines(each: SubgroupGain) -> Iterator[_CsvLine]:
    b = each.pair.b
    common = {**_row(each.pair.a, each.column), **_images(each.stratum), "init_b": b.init}
    common |= {"variant_b": b.variant, "n_seeds": len(each.pair.seeds)}
    test = {"p_holm": each.p, "shown": each.verdict}
    yield {**common, "quantity": "gain", **_value_and_interval(each.difference), **test}
    if each.extra:
        test = {"p_holm": each.p_extra, "shown": each.alike}
        yield {**common, "quantity": "against the others", **_value_and_interval(each.extra), **test}


def _value_and_interval(measured: PairedDifference) -> _CsvLine:
    low, high = measured.interval()
    return {"value": measured.difference, "low": low, "high": high}
