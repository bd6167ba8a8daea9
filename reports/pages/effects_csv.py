"""`effects.csv`: every effect of one fact of pretraining as tidy data, one line per pair and setting."""

from typing import Any

from ..analysis.effects import FactEffect, fact_effects
from ..analysis.report_input import ReportInput
from ..elements.format import clean
from .csv_table import label_fields, rows_csv

EFFECT_COLUMNS = (
    "fact", "init_a", "init_b", "arch", "protocol", "fraction", "shots", "size", "input_size", "metric",
    "n_tasks", "tasks", "difference", "low", "high", "verdict", "p", "p_bh", "p_equivalent",
    "p_equivalent_bh", "margin", "words", "same", "besides", "unsure", "licenses", "flags", "left_out",
    "generated",
)  # fmt: skip


def effects_csv(results: ReportInput) -> str:
    """Write the file, or "" if no two inits differ in one fact; docs/zoo.md explains the columns."""
    found = fact_effects(results)
    return rows_csv(EFFECT_COLUMNS, [_line(results, effect) for effect in found]) if found else ""


def _line(results: ReportInput, effect: FactEffect) -> dict[str, Any]:
    difference, mean, where = effect.difference, effect.over.mean, effect.setting
    (p, p_bh), (q, q_bh) = effect.tests.p, effect.tests.p_equivalent
    return {
        "fact": difference.fact, "init_a": clean(difference.a), "init_b": clean(difference.b),
        "arch": clean(where.arch), "protocol": clean(where.protocol), **label_fields(where.fraction),
        "size": where.size, "input_size": where.input_size, "metric": results.primary,
        "n_tasks": mean.units, "tasks": clean(" ".join(effect.over.tasks)), "difference": mean.difference,
        "low": mean.low, "high": mean.high, "verdict": effect.verdict, "p": p,
        "p_bh": p_bh, "p_equivalent": q, "p_equivalent_bh": q_bh,
        "margin": results.margin, "words": clean(difference.words), "same": clean("; ".join(difference.same)),
        "besides": clean("; ".join(difference.besides)), "unsure": clean("; ".join(difference.unsure)),
        "licenses": clean("; ".join(difference.licenses)),
        "flags": "; ".join(f"{name} {tasks}" for name, tasks in effect.flags.items()),
        "left_out": clean("; ".join(f"{task} {flag}" for task, flag in effect.left_out.items())),
        "generated": where.generated,
    }  # fmt: skip
