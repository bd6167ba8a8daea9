"""Verdicts as `verdicts.csv` for spreadsheets and `verdicts.json` for programs."""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from ...benchmark.schema.plan import shots_of
from ..analysis.report_input import LeaderboardRow, ReportInput
from ..analysis.verdicts import POWER, Verdict, compute_verdicts
from ..elements.format import clean
from ..elements.verdict_format import keys_of
from ..statistics.metric_influence import JUDGED_METRICS
from ..statistics.paired import ALPHA
from .csv_table import rows_csv

VERDICT_FORMAT = 2
"""1 is version 0.1, which called "undecided" "cannot tell"."""
METHOD = (
    "paired differences over test images and seeds: DeLong influence of each image, clustered by group; t "
    "intervals added as by Howe 1974; in cross-validation twice the variance from the images of one repeat; "
    "seed variances moderated over the tasks of one question (Smyth 2004); "
    "better and worse two-sided, equivalent by two one-sided tests; each corrected by Benjamini and Hochberg "
    "over these tasks"
)


class FlagReason(msgspec.Struct, frozen=True, kw_only=True):
    """Short name of a flag, and its reason with the numbers."""

    name: str
    reason: str


class VerdictLine(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison, with null for unknown; docs/verdicts.md explains each field."""

    task: str
    arch: str
    protocol: str
    fraction: float | None
    init_a: str
    init_b: str
    metric: str
    n_seeds: int
    difference: float | None
    low: float | None
    high: float | None
    verdict: str
    mde: float | None
    seeds_needed: int | None
    flags: tuple[FlagReason, ...]
    size: int
    input_size: int
    n_test: int
    seeds: tuple[int, ...]
    seeds_needed_unbounded: bool
    p: float | None
    p_bh: float | None
    p_equivalent: float | None
    p_equivalent_bh: float | None
    p_better: float | None
    p_within_margin: float | None
    p_worse: float | None
    prior_sd: float | None
    prior_freedom: float | None
    estimand: str
    margin: float
    generated: bool
    variant_a: str
    variant_b: str
    init_label_a: str
    init_label_b: str
    keys_a: tuple[str, ...]
    keys_b: tuple[str, ...]
    shots: int | None


class VerdictFile(msgspec.Struct, frozen=True, kw_only=True):
    """Content of `verdicts.json`; `verdicts` in report order."""

    format: int
    margin: float
    alpha: float
    power: float
    method: str
    verdicts: tuple[VerdictLine, ...]


VERDICT_COLUMNS = tuple(name for name in VerdictLine.__struct_fields__ if name != "seeds_needed_unbounded")
"""Columns of the CSV, which writes an unbounded number of seeds as "inf"."""


@lru_cache(maxsize=4)  # for the CSV and the JSON file
def verdict_lines(results: ReportInput) -> tuple[VerdictLine, ...]:
    """Return every comparison as plain data, in report order."""
    return tuple(_line(results, verdict) for verdict in compute_verdicts(results))


def verdicts_json(results: ReportInput) -> bytes:
    """Write `verdicts.json`, indented."""
    return msgspec.json.format(msgspec.json.encode(verdict_file(results)), indent=1)


def verdict_file(results: ReportInput) -> VerdictFile:
    """Return the content of `verdicts.json`."""
    return VerdictFile(
        format=VERDICT_FORMAT,
        margin=results.margin,
        alpha=ALPHA,
        power=POWER,
        method=METHOD.replace("DeLong influence", _influence_name(results.verdict_metric)),
        verdicts=verdict_lines(results),
    )


def _influence_name(metric: str) -> str:
    title = JUDGED_METRICS[metric].full_title
    return "DeLong influence" if metric == "auc" else f"infinitesimal jackknife of the {title}, influence"


def verdicts_csv(results: ReportInput) -> str:
    """Write `verdicts.csv`: flags by name, names protected from being read as formulas."""
    return rows_csv(VERDICT_COLUMNS, verdict_rows(results))


def verdict_rows(results: ReportInput) -> list[dict[str, Any]]:
    """Return every comparison by `VERDICT_COLUMNS`, in report order: None for unknown, lists as text."""
    return [_row(line) for line in verdict_lines(results)]


def _row(line: VerdictLine) -> dict[str, Any]:
    fields = msgspec.structs.asdict(line)
    fields["flags"] = "; ".join(dict.fromkeys(flag.name for flag in line.flags))
    if line.seeds_needed_unbounded:
        fields["seeds_needed"] = math.inf
    for name, value in fields.items():
        if isinstance(value, tuple):
            fields[name] = " ".join(map(str, value))
    return {name: fields[name] for name in VERDICT_COLUMNS}


def _line(results: ReportInput, verdict: Verdict) -> VerdictLine:
    a, b = verdict.a, verdict.b
    low, high = verdict.interval
    better, within, worse = verdict.chances
    prior = verdict.paired
    keys = keys_of(verdict)
    return VerdictLine(
        task=clean(a.task), arch=clean(a.arch), protocol=clean(a.protocol),
        fraction=None if shots_of(a.fraction) else a.fraction, shots=shots_of(a.fraction) or None,
        init_a=clean(a.init), init_b=clean(b.init), metric=verdict.metric, n_seeds=len(verdict.seeds),
        difference=_known(verdict.difference), low=_known(low), high=_known(high), verdict=verdict.verdict,
        mde=_known(verdict.mde),
        seeds_needed=int(verdict.seeds_needed) if math.isfinite(verdict.seeds_needed) else None,
        flags=tuple(_reasons(verdict)), size=a.size, input_size=a.input_size, n_test=verdict.n_test,
        seeds=verdict.seeds, seeds_needed_unbounded=math.isinf(verdict.seeds_needed),
        p=_known(verdict.p[0]), p_bh=_known(verdict.p[1]),
        p_equivalent=_known(verdict.p_equivalent[0]), p_equivalent_bh=_known(verdict.p_equivalent[1]),
        p_better=_known(better), p_within_margin=_known(within), p_worse=_known(worse),
        prior_sd=_known(prior.prior_sd) if prior else None,
        prior_freedom=prior.prior_freedom if prior else None,
        estimand=verdict.estimand,
        margin=verdict.margin, generated=results.generated(a.task), variant_a=a.variant, variant_b=b.variant,
        init_label_a=clean(a.label), init_label_b=clean(b.label),
        keys_a=_own(keys, a), keys_b=_own(keys, b),
    )  # fmt: skip


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _reasons(verdict: Verdict) -> Iterable[FlagReason]:
    return (FlagReason(name=flag.name, reason=clean(flag.reason)) for flag in verdict.flags)


def _own(keys: Sequence[str], row: LeaderboardRow) -> tuple[str, ...]:
    return tuple(key for key in keys if key in row.keys)
