"""Compare the records of a parity run with the published values, as a table and as files."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec
from tabulate import tabulate

from ...core.errors import UserError
from ...core.files import write_bytes, write_json
from ..schema.plan import read_plan
from ..schema.records import Record, RecordStore
from .judge import CAP, KEPT_EPOCH, PARITY_FLOOR, ParityRow, check_tolerance
from .study import ParityStudy

HEADERS = (
    "task", "arch", "px", "metric", "epoch", "published", "ours ± sd (seeds)", "difference", "tolerance", "",
)  # fmt: skip


class ParityResult(msgspec.Struct, frozen=True, kw_only=True):
    """Content of `parity.json`."""

    format: int = 1
    study: str
    source: str
    rule: str
    note: str
    rows: tuple[ParityRow, ...]
    kept: tuple[str, ...]
    """Notes of each training on the epoch that it kept."""

    @property
    def exit_code(self) -> int:
        """Exit code: 1 if a value is missing, 3 if one is OUT, otherwise 0."""
        verdicts = {row.verdict for row in self.rows if row.counts}
        return 1 if "FAILED" in verdicts else 3 if "OUT" in verdicts else 0

    @property
    def summary(self) -> str:
        """Number of values IN and OUT, as one sentence."""
        clauses = []
        for epoch in dict.fromkeys(row.epoch for row in self.rows):
            rows = [row for row in self.rows if row.epoch == epoch]
            count = Counter(row.verdict for row in rows)
            failed = f", {count['FAILED']} without a value" if count["FAILED"] else ""
            beside = "" if rows[0].counts else " (beside: decides nothing)"
            clauses.append(
                f"{epoch} epoch: {count['IN']} of {len(rows)} published values IN, {count['OUT']} OUT"
                f"{failed}{beside}"
            )
        return f"{'; '.join(clauses)}.".replace("epoch epoch", "epoch")

    def table(self, form: str) -> str:
        """Return the rows as a table in one of tabulate's forms."""
        return tabulate(
            [_table_cells(row) for row in self.rows], headers=HEADERS, tablefmt=form, disable_numparse=True
        )


PARITY_RULE = (
    "IN where |ours - published| is within t(.975) x the standard error of the difference of the two means, "
    f"but at least {PARITY_FLOOR:g} and at most {CAP:g}; where no published sd is known it is taken as "
    f"ours; a single seed has only {PARITY_FLOOR:g}."
)


def outcome_of(study: ParityStudy, folder: Path) -> ParityResult:
    """Compare the records of a run directory with a study; `UserError` if it has no plan."""
    plan, store = read_plan(folder), RecordStore(folder)
    if plan is None:
        raise UserError(f"There is no run directory {folder}: pass another --out.")
    found: dict[tuple[str, str, int], list[Record | None]] = defaultdict(list)
    for planned in plan.cells:
        cell = planned.cell
        found[cell.task, cell.arch, cell.size].append(store.read(planned.key))
    facts = study.facts
    rows = (
        check_tolerance(place, published, values, epoch, counts=epoch == (facts.epoch or KEPT_EPOCH))
        for place, records in found.items()
        for published in facts.published(*place)
        for epoch, values in _values(records, published.metric).items()
    )
    kept = (
        f"{record.cell.task} {record.cell.arch} seed {record.cell.seed}: {'; '.join(record.notes)}"
        for records in found.values()
        for record in records
        if record and record.notes
    )
    return ParityResult(
        study=study.name,
        source=facts.source,
        rule=PARITY_RULE,
        note=facts.note.strip(),
        rows=tuple(rows),
        kept=tuple(kept),
    )


def write_parity(outcome: ParityResult, folder: Path) -> None:
    """Write `parity.json` and `parity.md` into a run directory."""
    write_json(folder / "parity.json", outcome)
    parts = [f"# Parity with {outcome.study}", outcome.summary, outcome.table("github")]
    kept = "\n".join(f"- {line}" for line in outcome.kept)
    parts += [f"Published: {outcome.source}.", outcome.note, outcome.rule, kept]
    write_bytes(folder / "parity.md", ("\n\n".join(filter(None, parts)) + "\n").encode())


def parity_text(outcome: ParityResult) -> str:
    """Return the text for a terminal."""
    head = f"{outcome.study}: {outcome.source}"
    return "\n\n".join([head, outcome.table("simple"), outcome.note, outcome.rule, outcome.summary])


def _values(records: Sequence[Record | None], metric: str) -> dict[str, list[float | None]]:
    """Return the values of one metric by the rule that chooses the epoch, one per record."""
    done = [record if record and record.status == "ok" else None for record in records]
    rules = dict.fromkeys(name for record in done if record for name in record.beside)
    of_script = {KEPT_EPOCH: [record.metrics.get(metric) if record else None for record in done]}
    return of_script | {
        rule: [record.beside.get(rule, {}).get(metric) if record else None for record in done]
        for rule in rules
    }


def _table_cells(row: ParityRow) -> Sequence[object]:
    published = f"{row.published:.3f}" + ("" if row.published_sd is None else f" ± {row.published_sd:.3f}")
    if row.ours is None or row.difference is None or row.tolerance is None:
        ours, difference, allowed = row.reason, "", ""
    else:
        spread = "" if row.sd is None else f" ± {row.sd:.3f}"
        ours = f"{row.ours:.3f}{spread} ({row.seeds})"
        difference, allowed = f"{row.difference:+.3f}", f"{row.tolerance:.3f}"
    place = (row.task, row.arch, row.size, row.metric, row.epoch)
    return (*place, f"{published} (≥{row.published_runs})", ours, difference, allowed, row.verdict)
