"""Leakage: equal images across splits, for every task; and what `audit leakage` found, where it was run."""

import base64
import binascii
from collections.abc import Iterator

from ...benchmark.audits.leakage.outcome import ImagePair, LeakageAudit, ShortcutHint
from ...benchmark.schema.records import SplitOverlap
from ..analysis.results import Results
from ..elements.format import count_noun, task_entry
from ..elements.section import (
    SECTIONS,
    Datum,
    Figure,
    FigurePanel,
    SectionContent,
    SectionPart,
    Table,
    TableColumn,
    TableEntry,
)

_TASK = TableColumn("Task", facet="task")
_SIDE = TableColumn("Images, px", "d", "side of the images as stored")


@SECTIONS.register("leakage")
def leakage_section(results: Results) -> SectionContent | None:
    """Show what of a test split its training could already know; None where nobody looked."""
    copies, audits = _copies(results), results.leakage_audits
    if not copies and not audits:
        return None
    lead = (
        "Whether test images stand in train or validation, equal in every pixel, is counted for every task "
        "that is run; and whether their patients or other groups do, where these are known. Near copies and "
        "shortcuts are what the command mednet-bench audit leakage looks for.",
    )
    points = [
        f"{task}: {found.sentence}." for (task, _), held in copies.items() for found in held if found.sentence
    ]
    points += [f"{audit.task}, {audit.size} px: {clause}." for audit in audits for clause in audit.leaks]
    tables = (_copies_table(results, copies), _near_table(results, audits), _hint_table(results, audits))
    blocks = (*(table for table in tables if table.rows), *_figures(audits))
    if not points:
        doubted = any(audit.doubts for audit in audits)
        points = [f"No test image was {'shown' if doubted else 'found'} to leak, as far as was looked."]
    clauses = [(audit, clause) for audit in audits for clause in (*audit.doubts, *audit.shortcut_clauses)]
    points += [f"{audit.task}, {audit.size} px: {clause}." for audit, clause in clauses]
    return SectionContent(
        "Leakage", 68, (SectionPart(lead=lead, points=tuple(dict.fromkeys(points)), blocks=blocks),)
    )


def _copies(results: Results) -> dict[tuple[str, int], list[SplitOverlap]]:
    """Gather what the records count, each distinct count once; () of records from before it was counted."""
    found: dict[tuple[str, int], list[SplitOverlap]] = {}
    for record in results.counted:
        if record.copies:
            held = found.setdefault((record.cell.task, record.cell.size), [])
            if record.copies not in held:
                held.append(record.copies)
    return dict(sorted(found.items()))


def _copies_table(results: Results, copies: dict[tuple[str, int], list[SplitOverlap]]) -> Table:
    columns = (
        _TASK,
        _SIDE,
        TableColumn("Test images", ",d"),
        TableColumn("In train", ",d", "test images that stand in train, equal in every pixel"),
        TableColumn("In validation", ",d"),
        TableColumn(
            "Unlike labels", ",d", "groups of equal images, of test and another split, with unlike labels"
        ),
        TableColumn("Validation in train", ",d", "validation images that stand in train"),
        TableColumn("Fate", "", "what was done with the test images that are equal to others"),
        TableColumn(
            "Of shared groups", "", "test images of patients or other groups that stand in train or val"
        ),
    )
    rows: list[tuple[TableEntry, ...]] = [
        (task_entry(results, task), size, each.test, each.in_train, each.in_val, each.conflicts,
         each.val_in_train, _fate(each),
         f"{each.of_shared:,} of {each.known:,}" if each.known else "groups not known")
        for (task, size), held in copies.items()
        for each in held
    ]  # fmt: skip
    return Table("Equal images and groups across splits", columns, tuple(rows))


def _fate(copies: SplitOverlap) -> str:
    if not copies.either:
        return "none to drop"
    if copies.dropped_train or copies.dropped_val:
        return f"kept; dropped in train {copies.dropped_train:,}, in val {copies.dropped_val:,}"
    return "dropped" if copies.dropped else "kept"


def _near_table(results: Results, audits: tuple[LeakageAudit, ...]) -> Table:
    columns = (
        _TASK,
        _SIDE,
        TableColumn("Looked for"),
        TableColumn("Means"),
        TableColumn("Images", ",d"),
        TableColumn("Found", ",d"),
        TableColumn("Share", ".1%", "with its 95 % Clopper-Pearson interval"),
        TableColumn("Equal", ",d"),
        TableColumn("Unlike labels", ",d"),
    )
    rows = tuple(row for audit in audits for row in _near_rows(results, audit))
    return Table("Near copies, and groups that splits share", columns, rows)


def _near_rows(results: Results, audit: LeakageAudit) -> Iterator[tuple[TableEntry, ...]]:
    task = task_entry(results, audit.task)
    for near in audit.near:
        found = len(near.matches)
        share = found / near.checked if near.checked else None
        low, high = near.interval
        spread = Datum(share, f"{share or 0:.1%} ({low:.1%} to {high:.1%})") if near.checked else None
        equal, unlike = (sum(getattr(m, of) for m in near.matches) for of in ("exact", "conflict"))
        looked = f"near copies {'' if near.within else 'of '}{near.where}"
        yield (task, audit.size, looked, near.means, near.checked, found, spread, equal, unlike)
    for each in audit.shared or ():
        share = each.images / each.known if each.known else None
        looked = f"groups of {each.split} in {each.against}"
        yield (task, audit.size, looked, "leak", each.known, each.images, share, None, None)


def _hint_table(results: Results, audits: tuple[LeakageAudit, ...]) -> Table:
    columns = (
        _TASK,
        TableColumn("Told"),
        TableColumn("From", "", "figures that say nothing of what an image shows"),
        TableColumn("AUC", ".3f", "cross-validated, macro one-vs-rest"),
        TableColumn("Chance", ".3f", "the highest AUC of the permutations of what was told"),
        TableColumn("Images", ",d", "one of each group or picture"),
        TableColumn("Hint"),
    )
    rows: list[tuple[TableEntry, ...]] = [
        (task_entry(results, audit.task), hint.target, hint.features, hint.auc, hint.chance,
         hint.images, _is(hint))
        for audit in audits
        for hint in audit.hints
    ]  # fmt: skip
    return Table("Shortcuts: what a few figures of an image tell", columns, tuple(rows), folded=True)


def _is(hint: ShortcutHint) -> str:
    return hint.reason or ("yes" if hint.exceeds_chance else "no")


def _figures(audits: tuple[LeakageAudit, ...]) -> Iterator[Figure]:
    """Show the pairs of images that an audit was asked to embed; without that there are none."""
    for number, audit in enumerate(audits):
        panels = tuple(panel for picture in audit.pictures for panel in _panel(picture, audit.task))
        if panels:
            caption = (
                f"{audit.task}: {count_noun(len(panels), 'pair')} of images that are equal or nearly so, "
                "because "
                "the audit was asked for them (--pictures). They may be of patients."
            )
            yield Figure(f"leakage-{number}", caption, panels, folded=True)


def _panel(picture: ImagePair, task: str) -> Iterator[FigurePanel]:
    try:
        png = base64.b64encode(base64.b64decode(picture.png, validate=True)).decode()
    except (binascii.Error, ValueError):  # a damaged file gives no picture, and no markup of its own
        return
    left, right = (f"{split} {row}" for split, row in (picture.left, picture.right))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {picture.width} {picture.height}">'
        f'<image width="{picture.width}" height="{picture.height}" href="data:image/png;base64,{png}"/></svg>'
    )
    alt = f"Two images of {task} side by side: {left} and {right}"
    yield FigurePanel(svg, picture.width, picture.height, alt, {"task": task})
