"""The catalog of databases as text for a terminal: a list, one database, the Imaging Data Commons."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from ...core.text_tables import format_count, format_table
from ...tasks.databases import kinship
from ...tasks.databases import tables as catalog
from ...tasks.databases.licenses import implied_terms
from ...tasks.databases.tables import IdcCollection, ImageDatabase, sum_known

Reasons = list[tuple[str, str, str]]
"""(task or database, level, evidence), the declared ones first."""


def database_listing(rows: Sequence[ImageDatabase]) -> str:
    """Return databases as a table, with sums; derived sets and aggregates do not count in the second one."""
    if not rows:
        return "No database is like that."
    body = [
        [
            row.id,
            row.variant,
            row.modality,
            format_count(row.images),
            format_count(row.patients),
            f"{_cut(row.license, 44)}{'' if row.license_evidence == 'read' else '?'}",
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
            f"{len(rows)} databases: {_sum(rows)}",
            f"{len(sources)} of them are neither derived nor aggregates: {_sum(sources)}",
        ]
    )


def _sum(rows: Sequence[ImageDatabase]) -> str:
    pictures = [row for row in rows if row.images is not None]
    people = [row for row in rows if row.patients is not None]
    return (
        f"{sum_known(row.images for row in pictures):,} images ({len(pictures)} count them), "
        f"{sum_known(row.patients for row in people):,} patients ({len(people)} count them)"
    )


def touched_tasks(row: ImageDatabase) -> Reasons:
    """Return the real tasks for which weights that saw this database are not clean."""
    from ...tasks.task import TASKS  # brings numpy, which the other tables do not need

    real = [task for task in TASKS if not TASKS[task].generated]
    return _sorted((name, TASKS[name].contamination([row.id])) for name in real)


def touched_databases(row: ImageDatabase) -> Reasons:
    """Return the databases that may share images with this one."""
    others = (id for id in catalog.databases() if id != row.id)
    return _sorted((id, kinship.provenance_overlap([row.id], [id])) for id in others)


def _sorted(found: Iterable[tuple[str, kinship.ProvenanceOverlap]]) -> Reasons:
    reasons = [(name, rel.level, str(rel.reasons[0])) for name, rel in found if rel.reasons]
    return sorted(reasons, key=lambda reason: reason[1])


def database_card(row: ImageDatabase) -> str:
    """Return everything that is known of one database, and how far it was verified."""
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
        "count": f"{_counts(row)}; evidence: {row.count_evidence}",
        "groups": row.group_key,
        "kind": row.kind,
        "parents": f"{', '.join(parents)}; evidence: {row.parents_evidence}" if parents else "none",
        "overlaps": ", ".join(row.overlaps) or "none known",
        "evidence": f"{row.verification}: {row.evidence}",
        "note": row.note or "none",
    }
    lines = [row.id, *(f"  {key:9} {value}" for key, value in facts.items())]
    tasks, others = touched_tasks(row), touched_databases(row)
    for title, reasons in (
        ("tasks that it may have seen", tasks),
        ("databases that may share images", others),
    ):
        lines += ["", f"{title}:" if reasons else f"{title}: none that the catalog knows"]
        lines += [f"  {name:24} {level:9} {sentence}" for name, level, sentence in reasons]
    return "\n".join(lines)


def _counts(row: ImageDatabase) -> str:
    numbers = {"images": row.images, "volumes, studies or videos": row.volumes, "patients": row.patients}
    known = [f"{number:,} {what}" for what, number in numbers.items() if number is not None]
    return ", ".join(known) or "not known"


def commons(rows: Sequence[IdcCollection], detailed: bool) -> str:
    """Return the collections of the Imaging Data Commons, summed by modality and use, or one by one."""
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
        headers = [
            "collection",
            "modality",
            "series",
            "patients",
            "instances",
            "GB",
            "license",
            "use",
            "database",
        ]
        return f"{format_table(body, headers, 'llrrrrlll')}\n\n{_by_use(rows)}"
    return _by_use(rows)


def _by_use(rows: Sequence[IdcCollection]) -> str:
    def key(row: IdcCollection) -> tuple[str, str]:
        return row.modality, row.use

    body = []
    for (modality, use), members in groupby(sorted(rows, key=key), key):
        some = list(members)
        sums = [
            sum_known(getattr(row, name) for row in some) for name in ("series", "instances", "gigabytes")
        ]
        body.append([modality, use, str(len(some)), *map(format_count, sums)])
    headers = ["modality", "use", "collections", "series", "instances", "GB"]
    return format_table(body, headers, "llrrrr")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
