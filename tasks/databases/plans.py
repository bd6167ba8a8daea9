"""Compositions of a Gray-MedNet and a Color-MedNet of three million images, and their gaps."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from .kinship import ancestors, provenance_overlap
from .licenses import MEANING, LicenseTerms, terms_of
from .tables import (
    CompositionShare,
    IdcCollection,
    ImageDatabase,
    canonical_id,
    composition_shares,
    contamination_links,
    databases,
    idc_collections,
    sum_known,
)

TARGET = 3_000_000
"""Images per color that a composition aims at."""
THIN = 0.01
"""Share of images below which a modality is called thin."""
THIN_PATIENTS = 3_000
"""Number of patients below which a modality is called thin, regardless of its images."""
RECALLED = "recalled"
"""Marks a license that was recalled from memory."""
ACCESS = {
    "registration": "by registration",
    "challenge": "from a challenge",
    "request": "on request",
    "credentialed": "by credentials",
}


@dataclass(frozen=True)
class CompositionRules:
    """What a composition may use beyond open and permissive data.

    Attributes:
        registration: allow data that need a registration.
        restricted: allow non-commercial, research-only and unknown terms.
    """

    registration: bool = False
    restricted: bool = False

    def violations(self, share: CompositionShare) -> tuple[str, ...]:
        """Return the rules that a share violates; () if it may be used."""
        registered, bound = access_of(share) != "open", share.part == "extra"
        return (
            *(["registration"] if registered and not self.registration else []),
            *(["restricted"] if bound and not self.restricted else []),
        )


@dataclass(frozen=True)
class CorpusComposition:
    """Shares of one color.

    Attributes:
        shares: included shares; those with part "fill" only while the others are too few.
        withheld: excluded shares, each with the violated rules.
    """

    variant: Literal["gray", "color"]
    shares: tuple[CompositionShare, ...]
    withheld: tuple[tuple[CompositionShare, tuple[str, ...]], ...]

    @property
    def images(self) -> int:
        """Number of images."""
        return sum_known(share.images for share in self.shares)

    @property
    def recalled_license_images(self) -> int:
        """Number of images whose license was recalled from memory."""
        return sum_known(share.images for share in self.shares if RECALLED in share.license)


def compose(variant: Literal["gray", "color"], rules: CompositionRules) -> CorpusComposition:
    """Take every allowed share, and the fill while there are fewer than `TARGET` images."""
    ours = [share for share in composition_shares() if share.variant == variant]
    stock = [share for share in ours if share.part != "fill"]
    taken = [share for share in stock if not rules.violations(share)]
    for share in ours:
        if share.part == "fill" and sum_known(row.images for row in taken) < TARGET:
            taken.append(share)
    withheld = ((share, rules.violations(share)) for share in stock if share not in taken)
    return CorpusComposition(variant, tuple(taken), tuple(withheld))


def access_of(share: CompositionShare) -> str:
    """Return how the share's database is obtained; the Imaging Data Commons is open."""
    return databases()[share.id].access if share.id in databases() else "open"


@dataclass(frozen=True)
class ModalityCount:
    """Count of one modality in a composition and in the rest of the catalog.

    Attributes:
        sets: number of shares.
        images: images of these shares.
        patients: patients of the shares that count them.
        uncounted: images of the shares that do not count patients.
        downstream: whether a downstream task of this modality could test it.
        elsewhere: (reason for exclusion, images, ids) of other databases in the catalog.
    """

    name: str
    sets: int
    images: int
    patients: int
    uncounted: int
    downstream: bool
    elsewhere: tuple[tuple[str, int, tuple[str, ...]], ...]

    def lack(self, total: int) -> str:
        """Return what the modality lacks in a composition of `total` images, or ""."""
        if not self.images:
            return "missing"
        if self.images < THIN * total:
            return f"{self.images / total:.2%} of the images"
        if self.patients < THIN_PATIENTS and not self.uncounted:
            return f"{self.patients:,} patients"
        return ""


def count_modalities(composition: CorpusComposition) -> tuple[ModalityCount, ...]:
    """Count a composition by modality, the largest first; missing modalities come last."""
    used = {share.id for share in composition.shares}
    rows = [row for row in databases().values() if row.variant == composition.variant]
    names = {row.modality for row in rows if row.modality != "other"}
    tested = {databases()[name].modality for name in downstream_tasks()}
    found = []
    for name in sorted(names):
        mine = [share for share in composition.shares if share.modality == name]
        spare = [row for row in rows if row.modality == name and row.kind == "source" and row.id not in used]
        found.append(
            ModalityCount(
                name,
                len(mine),
                sum_known(share.images for share in mine),
                sum_known(share.patients for share in mine),
                sum_known(share.images for share in mine if share.patients is None),
                name in tested,
                _group_by_reason([row for row in spare if row.id not in _idc_databases(composition)]),
            )
        )
    return tuple(sorted(found, key=lambda modality: -modality.images))


def _group_by_reason(rows: list[ImageDatabase]) -> tuple[tuple[str, int, tuple[str, ...]], ...]:
    reasons: dict[str, list[ImageDatabase]] = {}
    for row in rows:
        reasons.setdefault(_exclusion_reason(row), []).append(row)
    return tuple(
        (why, sum_known(r.images for r in some), tuple(r.id for r in some)) for why, some in reasons.items()
    )


def _exclusion_reason(row: ImageDatabase) -> str:
    if row.id in held_out_ids():
        return "held out for a task"
    if row.access != "open":
        return ACCESS[row.access]
    strictest = max(row.terms)
    return f"{strictest.word} license" if strictest > LicenseTerms.SHARE_ALIKE else "not used"


def collections_of(share: CompositionShare) -> tuple[IdcCollection, ...]:
    """Return the collections of an idc-... share; () for the share of one database."""
    if not share.id.startswith("idc-"):
        return ()
    modality = share.id.split("-")[1].upper()
    named = {row.id for row in composition_shares()}
    return tuple(
        row
        for row in idc_collections()
        if row.modality == modality
        and row.use in ("ok", "filter")
        and canonical_id(row.collection) not in named
    )


def _idc_databases(composition: CorpusComposition) -> set[str]:
    """Return the databases whose images are in a share of the Imaging Data Commons."""
    rows = (row for share in composition.shares for row in collections_of(share))
    return {canonical_id(row.collection) for row in rows}


def license_traps(share: CompositionShare) -> Iterator[str]:
    """Yield obligations of a share's license beyond attribution, and doubts about it."""
    for terms in sorted(terms_of(share.license)):
        if terms > LicenseTerms.ATTRIBUTION:
            yield f"{terms.word}: {MEANING[terms]}"
    if RECALLED in share.license:
        yield "license from memory"
    for row in collections_of(share):
        parent = databases().get(canonical_id(row.collection))
        if parent and max(parent.terms) > LicenseTerms.ATTRIBUTION:
            yield f"{parent.id}: {parent.license}"


@cache
def downstream_tasks() -> frozenset[str]:
    """Return the downstream tasks whose contamination the catalog covers."""
    return frozenset(link.downstream for link in contamination_links())


@cache
def held_out_ids() -> frozenset[str]:
    """Return the downstream tasks and their ancestors, which pretraining must not use."""
    return downstream_tasks() | {name for task in downstream_tasks() for name in ancestors(task)}


def contaminated_tasks(id: str) -> dict[str, str]:
    """Return the downstream tasks for which a database is not clean, each with the reason."""
    related = {task: provenance_overlap([task], [id]) for task in sorted(downstream_tasks())}
    return {task: f"{found.level}: {found.reasons[0]}" for task, found in related.items() if found.reasons}
