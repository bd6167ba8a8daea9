"""The composition of a Gray-MedNet or a Color-MedNet as text for a terminal."""

from collections.abc import Iterable

from ...core.text_tables import number, table
from ...tasks.databases import plans
from ...tasks.databases import tables as catalogue
from ...tasks.databases.licenses import implied
from ...tasks.databases.tables import Share, count


def composition_text(composition: plans.Composition) -> str:
    """Return a composition's parts with their caps, totals, licence traps, what is missing and held back."""
    title = f"{composition.variant.capitalize()}-MedNet"
    verdict = "reaches" if composition.images >= plans.TARGET else "does not reach"
    parts = [
        f"{title}: {composition.images:,} images, which {verdict} {plans.TARGET:,}",
        _shares(composition.shares),
        _by_modality(composition),
        _licences(composition),
        _lacking(composition),
        _held_back(composition),
    ]
    filled = [share for share in composition.shares if share.part == "fill"]
    if filled:
        before = composition.images - count(share.images for share in filled)
        parts.insert(2, f"fill: without it there would be {before:,} images, too few.")
    if composition.withheld:
        ids = (f"{share.id} ({share.images:,}; {', '.join(why)})" for share, why in composition.withheld)
        flags = "--with-registration and --non-commercial let these in"
        parts.append(f"Left out ({flags}):\n  {', '.join(ids)}")
    return "\n\n".join(parts)


def _shares(shares: Iterable[Share]) -> str:
    body = [
        [
            share.modality,
            f"{share.id}{' (fill)' if share.part == 'fill' else ''}",
            number(share.images),
            number(share.patients),
            share.rule,
            share.licence,
            plans.access_of(share),
        ]
        for share in shares
    ]
    headers = ["modality", "source", "images", "patients", "which (caps)", "licence", "access"]
    return table(body, headers, "llrrlll")


def _by_modality(composition: plans.Composition) -> str:
    body = [
        [
            modality.name,
            str(modality.sets),
            number(modality.images),
            f"{modality.images / composition.images:.1%}",
            f"{modality.patients:,}{' +' if modality.uncounted else ''}",
            "yes" if modality.downstream else "no",
            modality.lack(composition.images) or "-",
        ]
        for modality in plans.modalities(composition)
    ]
    headers = ["modality", "sets", "images", "share", "patients", "a task tests it", "thin or missing"]
    thin = f"Thin: under {plans.THIN:.0%} of the images or {plans.FEW:,} patients."
    return f"{table(body, headers, 'lrrrrll')}\n+ some sets do not count them. {thin}"


def _licences(composition: plans.Composition) -> str:
    """Say what the licences together leave, how much of that is from memory, and every trap."""
    remembered, rest = composition.remembered, composition.images - composition.remembered
    lines = [
        f"Licences, taken together: {implied(share.licence for share in composition.shares)}.",
        f"From memory, to be read before use: those of {remembered:,} images "
        f"({remembered / composition.images:.1%}); without them {rest:,} are left.",
    ]
    body = [
        [share.id, number(share.images), trap] for share in composition.shares for trap in plans.traps(share)
    ]
    if body:
        lines += ["", table(body, ["source", "images", "licence trap"], "lrl")]
    return "\n".join(lines)


def _lacking(composition: plans.Composition) -> str:
    """Say for each modality that is thin or missing where more of it would be found."""
    lines = []
    for modality in plans.modalities(composition):
        lack = modality.lack(composition.images)
        places = [f"{why}: {', '.join(ids)}{_images(n)}" for why, n, ids in modality.elsewhere]
        if lack:
            lines.append(f"  {modality.name}: {lack}; {'; '.join(places) or 'nothing else is known'}")
    return "\n".join(["Missing or thin, and what else the catalogue knows of it:", *(lines or ["  nothing"])])


def _images(number: int) -> str:
    return f" ({number:,} images)" if number else ""


def _held_back(composition: plans.Composition) -> str:
    """Name what would spoil a test, and warn of what goes in although a task may be touched."""
    rows = [catalogue.databases()[id] for id in plans.held_back() if id in catalogue.databases()]
    ours = [row for row in rows if row.kind == "source" and row.variant == composition.variant]
    names = ", ".join(f"{row.id}{_images(row.images or 0)}" for row in sorted(ours, key=lambda row: row.id))
    lines = [f"Held back, because downstream tasks are made from it: {names}."]
    for share in composition.shares:
        touched = plans.touched(share.id)
        lines += [f"Take care: {share.id} ({share.rule}): {task}, {why}." for task, why in touched.items()]
    return "\n".join(lines)
