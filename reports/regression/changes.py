"""Changes between two runs: rows of the same place, paired by seed where labels agree."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ...benchmark.schema.records import Record
from ..analysis.report_input import LeaderboardRow, ReportInput, visible_fields
from ..statistics.stats import MetricStat, describe_values

ComparisonPlace = tuple[str, int, int, str, str, float, str]


@dataclass(frozen=True, eq=False)
class RowChange:
    """Row of run A and row of run B at the same place.

    Attributes:
        stat: statistics of ``B - A``, one difference per seed whose cells agree in data and labels; None
            without such a seed.
        unpaired: number of seeds of either row without such a partner.
        differs: name -> (value in A, value in B) of everything that may explain a difference.
        obstacle: why the rows cannot be compared, or "".
    """

    a: LeaderboardRow
    b: LeaderboardRow
    stat: MetricStat | None
    unpaired: int
    differs: dict[str, tuple[str, str]]
    obstacle: str


@dataclass(frozen=True, eq=False)
class RunChanges:
    """Rows that two runs have in common, and rows of only one of them."""

    both: tuple[RowChange, ...]
    only_a: tuple[LeaderboardRow, ...]
    only_b: tuple[LeaderboardRow, ...]


def pair_rows(a: ReportInput, b: ReportInput, metric: str) -> RunChanges:
    """Pair the rows of run `a` with those of run `b`.

    Where a run has several rows at a place (other data, recipe or weights), equal variants are paired
    first, then the others in display order.
    """
    pairs = list(_pairs(a, b))
    in_a, in_b = ({record.key: record for record in run.counted} for run in (a, b))
    paired_a, paired_b = {id(row) for row, _ in pairs}, {id(row) for _, row in pairs}
    return RunChanges(
        both=tuple(_change(row, other, in_a, in_b, metric) for row, other in pairs),
        only_a=tuple(row for row in a.rows if id(row) not in paired_a),
        only_b=tuple(row for row in b.rows if id(row) not in paired_b),
    )


def _pairs(a: ReportInput, b: ReportInput) -> Iterator[tuple[LeaderboardRow, LeaderboardRow]]:
    others: dict[ComparisonPlace, list[LeaderboardRow]] = defaultdict(list)
    for row in b.rows:
        others[visible_fields(row)].append(row)
    left = []
    for row in a.rows:
        same = [other for other in others[visible_fields(row)] if other.variant == row.variant]
        if same:
            others[visible_fields(row)].remove(same[0])
            yield row, same[0]
        else:
            left.append(row)
    for row in left:
        if others[visible_fields(row)]:
            yield row, others[visible_fields(row)].pop(0)


def _change(
    a: LeaderboardRow, b: LeaderboardRow, in_a: dict[str, Record], in_b: dict[str, Record], metric: str
) -> RowChange:
    ours = {seed: in_a[key] for seed, key in zip(a.seeds, a.keys, strict=True)}
    theirs = {seed: in_b[key] for seed, key in zip(b.seeds, b.keys, strict=True)}
    differs = _find_differences(list(ours.values()), list(theirs.values()))
    unlike = [name for name in ("data", "card") if name in differs]
    common = [
        difference
        for seed in sorted(ours.keys() & theirs.keys())
        if not unlike and (difference := _difference(ours[seed], theirs[seed], metric)) is not None
    ]
    obstacle = ""
    if unlike:
        obstacle = "not comparable: other data" if "data" in unlike else "not comparable: another task card"
    elif not common:
        obstacle = "no seed in common with the same labels"
    stat = describe_values(np.array(common)) if common else None
    return RowChange(a, b, stat, len(ours.keys() | theirs.keys()) - len(common), differs, obstacle)


def _difference(a: Record, b: Record, metric: str) -> float | None:
    """Return ``B - A`` of one seed; None if label subsets differ or the metric is undefined."""
    if a.hashes.subset != b.hashes.subset:
        return None
    ours, theirs = a.metrics.get(metric), b.metrics.get(metric)
    return theirs - ours if ours is not None and theirs is not None else None


def _values(records: list[Record], of: Callable[[Record], object]) -> str:
    return ", ".join(sorted({str(of(record)) for record in records}))


def _find_differences(ours: list[Record], theirs: list[Record]) -> dict[str, tuple[str, str]]:
    """Return name -> values of everything that differs; all random weights count as one value."""
    facts: dict[str, Callable[[Record], object]] = {
        "data": lambda r: r.hashes.data,
        "card": lambda r: r.hashes.card,
        "protocol version": lambda r: str(r.protocol_version),
        "recipe": lambda r: r.recipe_hash,
        "weights": lambda r: "random" if r.hashes.weights.startswith("random:") else r.hashes.weights,
        "input": lambda r: str(sorted(r.init.contract.items())) if r.init else "",
        "device": lambda r: r.provenance.device,
        "threads": lambda r: str(r.provenance.threads),
        "commit": lambda r: (r.provenance.commit or "installed") + (" dirty" if r.provenance.dirty else ""),
    }
    names = sorted({name for record in (*ours, *theirs) for name in record.provenance.versions})
    facts |= {name: lambda r, name=name: r.provenance.versions.get(name, "absent") for name in names}
    sides = {name: (_values(ours, of), _values(theirs, of)) for name, of in facts.items()}
    return {name: (here, there) for name, (here, there) in sides.items() if here != there}
