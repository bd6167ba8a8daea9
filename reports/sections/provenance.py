"""Provenance: tasks, weights, software and recipe, with licenses and citations."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from ...benchmark.schema.plan import Plan
from ...benchmark.schema.records import InitFacts, Record
from ..analysis.report_input import ReportInput
from ..elements.format import GENERATED, compact_column, count_noun, place_label, task_entry
from ..elements.section import SECTIONS, Datum, SectionContent, SectionPart, Table, TableColumn, TableRow

PATHS = ("out", "data_root", "task_file", "init_file", "config")
HASH_DIGITS = 12
"""Digits of a hash or commit in a table."""


@SECTIONS.register("provenance")
def provenance_section(results: ReportInput) -> SectionContent | None:
    """Show tasks, inits, software and recipe of every counted record."""
    tables = (_tasks(results), _inits(results), _software(results), _recipe(results))
    lead = ("Everything that determines these numbers. Hashes are shortened; the records have them whole.",)
    parts = SectionPart(lead=lead, blocks=tuple(table for table in tables if table.rows))
    return SectionContent("Provenance", (parts,)) if parts.blocks else None


def _some(values: Iterable[str], shorten: bool = False) -> str:
    """List at most three distinct values and count the others; `shorten` cuts hashes."""
    different = sorted(set(filter(None, values)))
    shown = [_short(value) if shorten else value for value in different[:3]]
    return ", ".join(shown) + (f" and {len(different) - 3} more" if len(different) > 3 else "")


def _short(value: str) -> str:
    kind, colon, digits = value.rpartition(":")
    return f"{kind}{colon}{digits[:HASH_DIGITS]}"


def _group_records(records: Iterable[Record], key: Callable[[Record], str]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return dict(sorted(groups.items()))


def _tasks(results: ReportInput) -> Table:
    rows: list[TableRow] = []
    for task, members in _group_records(results.counted, lambda record: record.cell.task).items():
        facts = results.tasks.get(task)
        tests = {record.counts.test for record in members if record.counts}
        rows.append(
            (
                task_entry(results, task),
                facts.title if facts else None,
                f"{facts.kind}, {len(facts.classes)} classes" if facts else None,
                f"{facts.modality}, {facts.variant}" if facts else None,
                max(tests) if len(tests) == 1 else _some(map(str, tests)),
                _some((record.hashes.data for record in members), shorten=True),
                facts.license if facts else None,
                facts.citation if facts else None,
            )
        )
    columns = (
        TableColumn("Task", facet="task"), TableColumn("Title"), TableColumn("Kind"), TableColumn("Modality"),
        TableColumn("Test images", ",d"), TableColumn("Data"), TableColumn("License"), TableColumn("Cite"),
    )  # fmt: skip
    return Table("Tasks", columns, tuple(rows))


def _inits(results: ReportInput) -> Table:
    groups: dict[tuple[str, ...], list[tuple[Record, InitFacts]]] = defaultdict(list)
    for record in results.counted:
        if record.init:
            network = place_label(record.cell.arch, record.cell.size, record.cell.input_size)
            groups[record.cell.init, record.init.identity, network].append((record, record.init))
    rows: list[TableRow] = []
    for (name, identity, network), members in sorted(groups.items()):
        facts = [init for _, init in members]
        rows.append(
            (
                Datum(name, name, note=_some(init.label for init in facts)),
                network,
                _short(identity),
                _some((record.hashes.weights for record, _ in members), shorten=True),
                _some(_contract(init) for init in facts),
                _some(change for init in facts for change in init.adapted),
                _some(corpus for init in facts for corpus in init.corpora),
                _some(init.objective for init in facts),
                _some(init.license for init in facts),
                count_noun(len({record.cell.task for record, _ in members}), "task"),
            )
        )
    columns = (
        TableColumn("Init", facet="init"), TableColumn("Network"), TableColumn("Identity"),
        TableColumn("Weights"),
        TableColumn("Input contract"), TableColumn("Adapted"), TableColumn("Has seen"),
        TableColumn("Objective"),
        TableColumn("License"), TableColumn("Used for"),
    )  # fmt: skip
    caption = "Inits: origin of the weights and their input contract"
    return compact_column(Table(caption, columns, tuple(rows)), "Network")


def _contract(init: InitFacts) -> str:
    return "; ".join(f"{key} {_plain(value)}" for key, value in init.contract.items())


def _request(plan: Plan) -> dict[str, object]:
    """Return the options of the run; of paths only the last name, since paths are private."""
    found: dict[str, object] = {}
    for name, value in plan.request.items():
        if name in PATHS:
            values = value if isinstance(value, (list, tuple)) else [value]
            value = ", ".join(Path(str(path)).name for path in values if path)
        if name != "recipe":  # shown separately
            found[name] = value
    return found


def _option_entry(results: ReportInput, value: object) -> Datum:
    """Write an option value, with the warning for generated tasks."""
    named = value if isinstance(value, (list, tuple)) else [value]
    made = sorted(task for task in named if isinstance(task, str) and results.generated(task))
    text = _plain(value)
    return Datum(text, text, note=f"{', '.join(made)}: {GENERATED}" if made else "")


def _plain(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _software(results: ReportInput) -> Table:
    """Show one row per (versions, commit, device), several if one changed during the run."""
    groups: Counter[tuple[str, str, str, str]] = Counter()
    for record in results.records:  # failed ones too: versions explain many failures
        made = record.provenance
        versions = ", ".join(f"{name} {version}" for name, version in sorted(made.versions.items()))
        state = " with uncommitted changes" if made.dirty else ""
        commit = f"{made.commit[:HASH_DIGITS]}{state}" if made.commit else "installed package"
        groups[versions, commit, made.device, str(record.protocol_version)] += 1
    rows = [
        (device, threads, commit, version, versions, cells)
        for (versions, commit, device, version), cells in groups.most_common()
        for threads in (_threads(results.records, device),)
    ]
    columns = (
        TableColumn("Device"), TableColumn("Threads"), TableColumn("Commit"),
        TableColumn("Protocol version"), TableColumn("Versions"),
        TableColumn("Records", ",d"),
    )  # fmt: skip
    return Table("Software and devices", columns, tuple(rows))


def _threads(records: Sequence[Record], device: str) -> str:
    return _some(str(record.provenance.threads) for record in records if record.provenance.device == device)


def _recipe(results: ReportInput) -> Table:
    rows: list[TableRow] = []
    if results.plan:
        asked = {f"--{name.replace('_', '-')}": value for name, value in _request(results.plan).items()}
        trained = msgspec.to_builtins(results.plan.recipe)
        rows = [(name, _option_entry(results, value)) for name, value in {**asked, **trained}.items()]
    recipes = _group_records(results.counted_cells, lambda r: f"{r.cell.protocol}: {_short(r.recipe_hash)}")
    rows += [("recipe of " + recipe, count_noun(len(members), "cell")) for recipe, members in recipes.items()]
    columns = (TableColumn("Name"), TableColumn("Value"))
    return Table("Options of the last run, and the recipe", columns, tuple(rows), folded=True)
