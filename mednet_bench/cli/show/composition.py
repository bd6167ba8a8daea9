"""The composition of a Gray-MedNet or a Color-MedNet as text for a terminal."""

from collections.abc import Iterable

from ...core.text_tables import format_count, format_table
from ...tasks.databases import plans
from ...tasks.databases import tables as catalog
from ...tasks.databases.licenses import implied_terms
from ...tasks.databases.tables import CompositionShare, sum_known


def composition_text(composition: plans.CorpusComposition) -> str:
    """Return a composition: parts with caps, totals, license traps, and excluded databases."""
    title = f"{composition.variant.capitalize()}-MedNet"
    verdict = "reaches" if composition.images >= plans.TARGET else "does not reach"
    parts = [
        f"{title}: {composition.images:,} images, which {verdict} {plans.TARGET:,}",
        _shares_table(composition.shares),
        _modality_table(composition),
        _license_summary(composition),
        _missing_modalities(composition),
        _held_back_databases(composition),
    ]
    filled = [share for share in composition.shares if share.part == "fill"]
    if filled:
        before = composition.images - sum_known(share.images for share in filled)
        parts.insert(2, f"fill: without it there would be {before:,} images, too few.")
    if composition.withheld:
        ids = (f"{share.id} ({share.images:,}; {', '.join(why)})" for share, why in composition.withheld)
        flags = "--with-registration and --non-commercial let these in"
        parts.append(f"Left out ({flags}):\n  {', '.join(ids)}")
    return "\n\n".join(parts)


def _shares_table(shares: Iterable[CompositionShare]) -> str:
    body = [
        [
            share.modality,
            f"{share.id}{' (fill)' if share.part == 'fill' else ''}",
            format_count(share.images),
            format_count(share.patients),
            share.rule,
            share.license,
            plans.access_of(share),
        ]
        for share in shares
    ]
    headers = ["modality", "source", "images", "patients", "which (caps)", "license", "access"]
    return format_table(body, headers, "llrrlll")


def _modality_table(composition: plans.CorpusComposition) -> str:
    body = [
        [
            modality.name,
            str(modality.sets),
            format_count(modality.images),
            f"{modality.images / composition.images:.1%}",
            f"{modality.patients:,}{' +' if modality.uncounted else ''}",
            "yes" if modality.downstream else "no",
            modality.lack(composition.images) or "-",
        ]
        for modality in plans.count_modalities(composition)
    ]
    headers = ["modality", "sets", "images", "share", "patients", "a task tests it", "thin or missing"]
    thin = f"Thin: under {plans.THIN:.0%} of the images or {plans.THIN_PATIENTS:,} patients."
    return f"{format_table(body, headers, 'lrrrrll')}\n+ some sets do not count them. {thin}"


def _license_summary(composition: plans.CorpusComposition) -> str:
    """Summarize the licenses: their joint terms, how many are from memory, and every trap."""
    recalled = composition.recalled_license_images
    remembered, rest = recalled, composition.images - recalled
    lines = [
        f"Licenses, taken together: {implied_terms(share.license for share in composition.shares)}.",
        f"From memory, to be read before use: those of {remembered:,} images "
        f"({remembered / composition.images:.1%}); without them {rest:,} are left.",
    ]
    body = [
        [share.id, format_count(share.images), trap]
        for share in composition.shares
        for trap in plans.license_traps(share)
    ]
    if body:
        lines += ["", format_table(body, ["source", "images", "license trap"], "lrl")]
    return "\n".join(lines)


def _missing_modalities(composition: plans.CorpusComposition) -> str:
    """List where more images of each thin or missing modality could be found."""
    lines = []
    for modality in plans.count_modalities(composition):
        lack = modality.lack(composition.images)
        places = [f"{why}: {', '.join(ids)}{_format_images(n)}" for why, n, ids in modality.elsewhere]
        if lack:
            lines.append(f"  {modality.name}: {lack}; {'; '.join(places) or 'nothing else is known'}")
    return "\n".join(["Missing or thin, and what else the catalog knows of it:", *(lines or ["  nothing"])])


def _format_images(number: int) -> str:
    return f" ({number:,} images)" if number else ""


def _held_back_databases(composition: plans.CorpusComposition) -> str:
    """List databases held out for tasks, and warn of included ones that may overlap a task."""
    rows = [catalog.databases()[id] for id in plans.held_out_ids() if id in catalog.databases()]
    ours = [row for row in rows if row.kind == "source" and row.variant == composition.variant]
    ours.sort(key=lambda row: row.id)
    names = ", ".join(f"{row.id}{_format_images(row.images or 0)}" for row in ours)
    lines = [f"Held back, because downstream tasks are made from it: {names}."]
    for share in composition.shares:
        touched = plans.contaminated_tasks(share.id)
        lines += [f"Take care: {share.id} ({share.rule}): {task}, {why}." for task, why in touched.items()]
    return "\n".join(lines)
