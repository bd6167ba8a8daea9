"""What a Gray-MedNet or a Color-MedNet of three million images would be made of, and what it would lack."""

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
"""Images of each color that a composition aims at."""
THIN = 0.01
"""A modality with a smaller share of the images than this is called thin."""
THIN_PATIENTS = 3_000
"""A modality with images of fewer patients than this is called thin too, however many images there are."""
RECALLED = "recalled"
"""The word by which a share's license says that it is from memory."""
ACCESS = {
    "registration": "by registration",
    "challenge": "from a challenge",
    "request": "on request",
    "credentialed": "by credentials",
}


@dataclass(frozen=True)
class CompositionRules:
    """What may go into a composition beyond what is open and permissive.

    Attributes:
        registration: also what asks for a registration.
        restricted: also what is for non-commercial or research use, or whose terms are not known.
    """

    registration: bool = False
    restricted: bool = False

    def violations(self, share: CompositionShare) -> tuple[str, ...]:
        """Say what forbids to use a share; nothing for what may be used."""
        registered, bound = access_of(share) != "open", share.part == "extra"
        return (
            *(["registration"] if registered and not self.registration else []),
            *(["restricted"] if bound and not self.restricted else []),
        )


@dataclass(frozen=True)
class CorpusComposition:
    """A composition of one color.

    Attributes:
        variant: gray or color.
        shares: what goes in; those with part "fill" only because the others are too few.
        withheld: what these rules leave out, each with what forbids it.
    """

    variant: Literal["gray", "color"]
    shares: tuple[CompositionShare, ...]
    withheld: tuple[tuple[CompositionShare, tuple[str, ...]], ...]

    @property
    def images(self) -> int:
        """How many images there are."""
        return sum_known(share.images for share in self.shares)

    @property
    def recalled_license_images(self) -> int:
        """How many of them have a license that was not read but remembered."""
        return sum_known(share.images for share in self.shares if RECALLED in share.license)


def compose(variant: Literal["gray", "color"], rules: CompositionRules) -> CorpusComposition:
    """Take every share that the rules allow, and the fill while there are fewer than `TARGET` images."""
    ours = [share for share in composition_shares() if share.variant == variant]
    stock = [share for share in ours if share.part != "fill"]
    taken = [share for share in stock if not rules.violations(share)]
    for share in ours:
        if share.part == "fill" and sum_known(row.images for row in taken) < TARGET:
            taken.append(share)
    withheld = ((share, rules.violations(share)) for share in stock if share not in taken)
    return CorpusComposition(variant, tuple(taken), tuple(withheld))


def access_of(share: CompositionShare) -> str:
    """Return how its database is obtained; the Imaging Data Commons is open."""
    return databases()[share.id].access if share.id in databases() else "open"


@dataclass(frozen=True)
class ModalityCount:
    """What a composition has of one modality, and what the catalog has besides.

    Attributes:
        name: the modality.
        sets: number of shares.
        images: their images.
        patients: of the shares that count them.
        uncounted: the images of the shares that do not.
        downstream: whether a downstream task of this modality could test it.
        elsewhere: (why it is not in, images, ids) of what else the catalog knows.
    """

    name: str
    sets: int
    images: int
    patients: int
    uncounted: int
    downstream: bool
    elsewhere: tuple[tuple[str, int, tuple[str, ...]], ...]

    def lack(self, total: int) -> str:
        """Say what is wrong with it in a composition of `total` images, or "" if nothing is."""
        if not self.images:
            return "missing"
        if self.images < THIN * total:
            return f"{self.images / total:.2%} of the images"
        if self.patients < THIN_PATIENTS and not self.uncounted:
            return f"{self.patients:,} patients"
        return ""


def count_modalities(composition: CorpusComposition) -> tuple[ModalityCount, ...]:
    """Count a composition by modality, the largest first; modalities that it lacks stand at the end."""
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
        return "held back for a task"
    if row.access != "open":
        return ACCESS[row.access]
    strictest = max(row.terms)
    return f"{strictest.word} license" if strictest > LicenseTerms.SHARE_ALIKE else "not used"


def collections_of(share: CompositionShare) -> tuple[IdcCollection, ...]:
    """Return the collections that an idc-... share stands for; nothing for the share of one database."""
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
    """Name the databases whose images stand in a share of the Imaging Data Commons."""
    rows = (row for share in composition.shares for row in collections_of(share))
    return {canonical_id(row.collection) for row in rows}


def license_traps(share: CompositionShare) -> Iterator[str]:
    """Say what the license of a share binds one to, beyond naming the source, and what is not sure of it."""
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
    """Name the downstream tasks of which the catalog knows what may contaminate them."""
    return frozenset(link.downstream for link in contamination_links())


@cache
def held_out_ids() -> frozenset[str]:
    """Name the downstream tasks and what they were made from: pretraining on it would spoil the test."""
    return downstream_tasks() | {name for task in downstream_tasks() for name in ancestors(task)}


def contaminated_tasks(id: str) -> dict[str, str]:
    """Return the downstream tasks for which a database is not clean, each with the reason."""
    related = {task: provenance_overlap([task], [id]) for task in sorted(downstream_tasks())}
    return {task: f"{found.level}: {found.reasons[0]}" for task, found in related.items() if found.reasons}
