"""The catalog of databases and the Imaging Data Commons as text for a terminal."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from ... import tasks
from ...core.text_tables import format_count, format_table
from ...tasks.databases import kinship
from ...tasks.databases import tables as catalog
from ...tasks.databases.licenses import implied_terms
from ...tasks.databases.tables import IdcCollection, ImageDatabase, sum_known

Reasons = list[tuple[str, str, str]]
"""(task or database, level, evidence), the declared ones first."""


def database_listing(rows: Sequence[ImageDatabase]) -> str:
    """Return a table of databases with two sums, the second without derived sets and aggregates."""
    if not rows:
        return "No database is like that."
    body = [
        [
            row.id,
            row.variant,
            row.modality,
            format_count(row.images),
            format_count(row.patients),
            f"{_shorten(row.license, 44)}{'' if row.license_evidence == 'read' else '?'}",
            row.access,
            row.kind,
            f"{row.verification}, count {row.count_evidence}",
        ]
        for row in rows
    ]
    headers = ["id", "color", "modality", "images", "patients", "license", "access", "kind", "evidence"]
    sources = [row for row in rows if row.kind == "source"]
    return "\n".join(
        [
            format_table(body, headers, "lllrrllll"),
            "",
            "? the license is from memory or not known",
            f"{len(rows)} databases: {_format_sums(rows)}",
            f"{len(sources)} of them are neither derived nor aggregates: {_format_sums(sources)}",
        ]
    )


def _format_sums(rows: Sequence[ImageDatabase]) -> str:
    pictures = [row for row in rows if row.images is not None]
    people = [row for row in rows if row.patients is not None]
    return (
        f"{sum_known(row.images for row in pictures):,} images ({len(pictures)} count them), "
        f"{sum_known(row.patients for row in people):,} patients ({len(people)} count them)"
    )


def touched_tasks(row: ImageDatabase) -> Reasons:
    """Return the real tasks for which weights that saw this database are not clean."""
    registry = tasks.task.TASKS
    real = [name for name in registry if not registry[name].generated]
    return _sort_reasons((name, registry[name].contamination([row.id])) for name in real)


def touched_databases(row: ImageDatabase) -> Reasons:
    """Return the databases that may share images with this one."""
    others = (id for id in catalog.databases() if id != row.id)
    return _sort_reasons((id, kinship.provenance_overlap([row.id], [id])) for id in others)


def _sort_reasons(overlaps: Iterable[tuple[str, kinship.ProvenanceOverlap]]) -> Reasons:
    reasons = [(name, rel.level, str(rel.reasons[0])) for name, rel in overlaps if rel.reasons]
    return sorted(reasons, key=lambda reason: reason[1])


def database_card(row: ImageDatabase) -> str:
    """Return all facts about a database and how they were verified."""
    parents = [
        f"{id} ({catalog.sets_without_row()[id]})" if id in catalog.sets_without_row() else id
        for id in row.parents
    ]
    facts = {
        "name": f"{row.name} ({row.year})",
        "images": f"{row.variant}, {row.modality}, {row.anatomy}",
        "labels": f"{row.labels} ({row.label_type})",
        "license": f"{row.license}; {implied_terms([row.license])}; evidence: {row.license_evidence}",
        "access": f"{row.access}: {row.home}",
        "count": f"{_format_counts(row)}; evidence: {row.count_evidence}",
        "groups": row.group_key,
        "kind": row.kind,
        "parents": f"{', '.join(parents)}; evidence: {row.parents_evidence}" if parents else "none",
        "overlaps": ", ".join(row.overlaps) or "none known",
        "evidence": f"{row.verification}: {row.evidence}",
        "note": row.note or "none",
    }
    lines = [row.id, *(f"  {key:9} {value}" for key, value in facts.items())]
    touched = (
        ("tasks that it may have seen", touched_tasks(row)),
        ("databases that may share images", touched_databases(row)),
    )
    for title, reasons in touched:
        lines += ["", f"{title}:" if reasons else f"{title}: none that the catalog knows"]
        lines += [f"  {name:24} {level:9} {sentence}" for name, level, sentence in reasons]
    return "\n".join(lines)


def _format_counts(row: ImageDatabase) -> str:
    numbers = {"images": row.images, "volumes, studies or videos": row.volumes, "patients": row.patients}
    known = [f"{number:,} {what}" for what, number in numbers.items() if number is not None]
    return ", ".join(known) or "not known"


def commons_text(rows: Sequence[IdcCollection], detailed: bool) -> str:
    """Return the collections of the Imaging Data Commons by modality and use, or each of them."""
    if detailed:
        body = [
            [
                row.collection,
                row.modality,
                *map(format_count, (row.series, row.patients, row.instances, row.gigabytes)),
                row.license,
                f"{row.use}: {row.reason}" if row.reason else row.use,
                catalog.collection_databases().get(row.collection, ""),
            ]
            for row in rows
        ]
        counts = ["series", "patients", "instances", "GB"]
        headers = ["collection", "modality", *counts, "license", "use", "database"]
        return f"{format_table(body, headers, 'llrrrrlll')}\n\n{_use_table(rows)}"
    return _use_table(rows)


def _use_table(rows: Sequence[IdcCollection]) -> str:
    def key(row: IdcCollection) -> tuple[str, str]:
        return row.modality, row.use

    body = []
    for (modality, use), members in groupby(sorted(rows, key=key), key):
        some = list(members)
        counts = ("series", "instances", "gigabytes")
        sums = [sum_known(getattr(row, name) for row in some) for name in counts]
        body.append([modality, use, str(len(some)), *map(format_count, sums)])
    headers = ["modality", "use", "collections", "series", "instances", "GB"]
    return format_table(body, headers, "llrrrr")


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
