"""Leakage: equal images across splits for every task, and the findings of `audit leakage`."""

import base64
import binascii
from collections.abc import Iterator

from ...benchmark.audits.leakage.outcome import ImagePair, LeakageAudit, ShortcutHint
from ...benchmark.schema.records import SplitOverlap
from ..analysis.report_input import ReportInput
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
    TableRow,
)

_TASK = TableColumn("Task", facet="task")
_SIDE = TableColumn("Images, px", "d", "image size as stored")


@SECTIONS.register("leakage")
def leakage_section(results: ReportInput) -> SectionContent | None:
    """Show the test images that training could know; None if nothing was counted or audited."""
    copies, audits = _copies(results), results.leakage_audits
    if not copies and not audits:
        return None
    lead = (
        "For every task, a run counts the test images that are also in train or validation, equal in every "
        "pixel, and those whose patients or other groups are, if known. The command mednet-bench audit "
        "leakage searches for near copies and shortcuts.",
    )
    points = [
        f"{task}: {found.sentence}."
        for (task, _), counts in copies.items()
        for found in counts
        if found.sentence
    ]
    points += [f"{audit.task}, {audit.size} px: {clause}." for audit in audits for clause in audit.leaks]
    tables = (_copies_table(results, copies), _near_table(results, audits), _hint_table(results, audits))
    blocks = (*(table for table in tables if table.rows), *_figures(audits))
    if not points:
        doubted = any(audit.doubts for audit in audits)
        points = [f"No leaked test image was {'confirmed' if doubted else 'found'} by the searches."]
    clauses = [(audit, clause) for audit in audits for clause in (*audit.doubts, *audit.shortcut_clauses)]
    points += [f"{audit.task}, {audit.size} px: {clause}." for audit, clause in clauses]
    part = SectionPart(lead=lead, points=tuple(dict.fromkeys(points)), blocks=blocks)
    return SectionContent("Leakage", (part,))


def _copies(results: ReportInput) -> dict[tuple[str, int], list[SplitOverlap]]:
    """Collect the distinct counts of each (task, size); old records have none."""
    found: dict[tuple[str, int], list[SplitOverlap]] = {}
    for record in results.counted:
        if record.copies:
            counts = found.setdefault((record.cell.task, record.cell.size), [])
            if record.copies not in counts:
                counts.append(record.copies)
    return dict(sorted(found.items()))


def _copies_table(results: ReportInput, copies: dict[tuple[str, int], list[SplitOverlap]]) -> Table:
    columns = (
        _TASK,
        _SIDE,
        TableColumn("Test images", ",d"),
        TableColumn("In train", ",d", "test images that are also in train, equal in every pixel"),
        TableColumn("In validation", ",d"),
        TableColumn("Label conflicts", ",d", "groups of equal images across splits with different labels"),
        TableColumn("Validation in train", ",d", "validation images that are also in train"),
        TableColumn("Handling", "", "whether test images with equal ones were dropped"),
        TableColumn("Shared groups", "", "test images of patients or groups that are also in train or val"),
    )
    rows: list[TableRow] = [
        (task_entry(results, task), size, each.test, each.in_train, each.in_val, each.conflicts,
         each.val_in_train, _handling(each),
         f"{each.of_shared:,} of {each.known:,}" if each.known else "groups not known")
        for (task, size), counts in copies.items()
        for each in counts
    ]  # fmt: skip
    return Table("Equal images and groups across splits", columns, tuple(rows))


def _handling(copies: SplitOverlap) -> str:
    if not copies.either:
        return "none to drop"
    if copies.dropped_train or copies.dropped_val:
        return f"kept; dropped in train {copies.dropped_train:,}, in val {copies.dropped_val:,}"
    return "dropped" if copies.dropped else "kept"


def _near_table(results: ReportInput, audits: tuple[LeakageAudit, ...]) -> Table:
    columns = (
        _TASK,
        _SIDE,
        TableColumn("Search"),
        TableColumn("Meaning"),
        TableColumn("Images", ",d"),
        TableColumn("Found", ",d"),
        TableColumn("Share", ".1%", "with its 95 % Clopper-Pearson interval"),
        TableColumn("Equal", ",d"),
        TableColumn("Label conflicts", ",d"),
    )
    rows = tuple(row for audit in audits for row in _near_rows(results, audit))
    return Table("Near copies and shared groups", columns, rows)


def _near_rows(results: ReportInput, audit: LeakageAudit) -> Iterator[TableRow]:
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


def _hint_table(results: ReportInput, audits: tuple[LeakageAudit, ...]) -> Table:
    columns = (
        _TASK,
        TableColumn("Target"),
        TableColumn("Features", "", "statistics without image content"),
        TableColumn("AUC", ".3f", "cross-validated, macro one-vs-rest"),
        TableColumn("Chance", ".3f", "highest AUC over permutations of the target"),
        TableColumn("Images", ",d", "one per group or picture"),
        TableColumn("Hint"),
    )
    rows: list[TableRow] = [
        (task_entry(results, audit.task), hint.target, hint.features, hint.auc, hint.chance,
         hint.images, _hint_text(hint))
        for audit in audits
        for hint in audit.hints
    ]  # fmt: skip
    return Table("Shortcuts: targets predicted from image statistics", columns, tuple(rows), folded=True)


def _hint_text(hint: ShortcutHint) -> str:
    return hint.reason or ("yes" if hint.exceeds_chance else "no")


def _figures(audits: tuple[LeakageAudit, ...]) -> Iterator[Figure]:
    """Show the pairs of images that an audit embedded on request."""
    for number, audit in enumerate(audits):
        panels = tuple(panel for picture in audit.pictures for panel in _panel(picture, audit.task))
        if panels:
            caption = (
                f"{audit.task}: {count_noun(len(panels), 'pair')} of equal or nearly equal images, shown by "
                "audit leakage --pictures. They may be of patients."
            )
            yield Figure(f"leakage-{number}", caption, panels, folded=True)


def _panel(picture: ImagePair, task: str) -> Iterator[FigurePanel]:
    try:
        png = base64.b64encode(base64.b64decode(picture.png, validate=True)).decode()
    except (binascii.Error, ValueError):  # a damaged file gives no picture and no markup
        return
    left, right = (f"{split} {row}" for split, row in (picture.left, picture.right))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {picture.width} {picture.height}">'
        f'<image width="{picture.width}" height="{picture.height}" href="data:image/png;base64,{png}"/></svg>'
    )
    alt = f"Two images of {task} side by side: {left} and {right}"
    yield FigurePanel(svg, picture.width, picture.height, alt, {"task": task})
