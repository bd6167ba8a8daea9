"""Leakage audit of one task, stored as JSON for the report."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from ....core.errors import UserError
from ....core.files import read_regular, write_json
from ....tasks.trait_tests import ClassAssociation
from ...schema.split_overlap import EqualImages, ImagePlace, SharedGroups
from .match_types import NearCopies

LEAKAGE_FORMAT = 1
LEAKAGE_FOLDER = "leakage"
"""Sub-folder of a run directory."""
LEAST_AUC = 0.6
"""Smallest AUC of a shortcut; a weaker one is of no use to a network."""

_Rows = tuple[int, ...]


class ShortcutHint(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a few features of an image, without its content, predict its split or its label.

    Attributes:
        target: what is predicted: the label, or whether an image is of the last split, which is test.
        images: number of images, one of each group, or of equal images.
        auc: macro one-vs-rest, mean over the folds; None where it could not be computed, like `chance`, `p`.
        chance: highest AUC of the permutations.
        p: share of permutations, the true order included, with at least this AUC.
        reason: why there is no AUC, or "".
    """

    target: Literal["split", "label"]
    features: str
    images: int
    auc: float | None = None
    chance: float | None = None
    p: float | None = None
    permutations: int = 0
    reason: str = ""

    @property
    def exceeds_chance(self) -> bool:
        """Whether the AUC is above chance and at least `LEAST_AUC`."""
        if self.auc is None or self.chance is None:
            return False
        return self.auc > self.chance and self.auc >= LEAST_AUC


class ImagePair(msgspec.Struct, frozen=True, kw_only=True):
    """Two images side by side, only on request: `png` is base64, sizes are in pixels."""

    left: ImagePlace
    right: ImagePlace
    png: str
    width: int
    height: int


class LeakageAudit(msgspec.Struct, frozen=True, kw_only=True):
    """Audit of one task at one size.

    Attributes:
        size: side in pixels of the stored images.
        data: fingerprint of the content.
        images: split -> number of images.
        exact: groups of equal images, within splits and across.
        near: near copies per pair of splits, then within each.
        shared: per pair of splits that share groups; None where fewer than two splits have known groups.
        grouped: split -> number of images with a known group.
        patients: split -> number of these whose group is known to be a patient; None in version 0.1.
        constant: split -> rows of constant images.
        blank: split -> rows of images of mere noise, without constant ones.
        associations: exact test of each file property that differs, against the label; () in version 0.1.
    """

    format: int = LEAKAGE_FORMAT
    task: str
    size: int
    data: str
    images: dict[str, int]
    exact: tuple[EqualImages, ...]
    near: tuple[NearCopies, ...]
    shared: tuple[SharedGroups, ...] | None
    grouped: dict[str, int] = {}
    patients: dict[str, int] | None = None
    constant: dict[str, _Rows]
    blank: dict[str, _Rows]
    hints: tuple[ShortcutHint, ...]
    associations: tuple[ClassAssociation, ...] = ()
    pictures: tuple[ImagePair, ...] = ()
    made: str

    @property
    def spans(self) -> dict[str, int]:
        """Number of groups of equal images by the splits they occur in, as "train and val"."""
        found: dict[str, int] = {}
        for group in self.exact:
            name = " and ".join(group.splits)
            found[name] = found.get(name, 0) + 1
        return found

    @property
    def crossing(self) -> tuple[EqualImages, ...]:
        """Groups of equal images that occur in more than one split."""
        return tuple(group for group in self.exact if len(group.splits) > 1)

    @property
    def leaks(self) -> tuple[str, ...]:
        """Violations of the separation of the splits, a clause each; without hints and look-alikes."""
        return tuple(_leak_clauses(self))

    @property
    def near_test(self) -> tuple[str, ...]:
        """Near copies of test images in another split, beyond look-alikes; a clause each."""
        return tuple(
            f"{_matched_share(near)} have a copy, or nearly one, in {near.against}"
            for near in self._test_leaks
        )

    def near_copies(self, unlike: bool) -> int:
        """Count test images with a copy in train or val, without exact copies if `unlike`."""
        matches = [match for near in self._test_leaks for match in near.matches]
        equal = {match.row for match in matches if match.exact and unlike}
        return len({match.row for match in matches} - equal)

    @property
    def _test_leaks(self) -> Iterator[NearCopies]:
        found = (near for near in self.near if near.split == "test" and not near.within)
        return (near for near in found if near.means == "leak")

    @property
    def doubts(self) -> tuple[str, ...]:
        """Possible leaks, a clause each: few near copies, unknown patients."""
        return (*self._look_alikes, *self._not_patients)

    @property
    def patients_known(self) -> int:
        """Number of images whose group is known to be a patient."""
        return sum((self.grouped if self.patients is None else self.patients).values())

    @property
    def _not_patients(self) -> Iterator[str]:
        """Clause on images whose group may be smaller than a patient."""
        if self.shared is not None and (weak := sum(self.grouped.values()) - self.patients_known):
            yield (
                f"the groups of {weak:,} images are studies, or nearly all of one image, and one patient may "
                "have several: name the patients (in a card of files by patient_column or group_pattern)"
            )

    @property
    def _look_alikes(self) -> Iterator[str]:
        """Near copies across splits that are too few to exclude look-alikes, a clause each."""
        return (
            f"{_matched_share(near)} have a near copy or a look-alike in {near.against}: "
            "only a look at the pairs (--pictures) can tell"
            for near in self.near
            if not near.within
            and not near.beyond_look_alikes
            and not all(match.exact for match in near.matches)
        )

    @property
    def shortcut_clauses(self) -> tuple[str, ...]:
        """Shortcuts that were found, a clause for the split and for the label."""
        features: dict[str, list[str]] = {}
        for hint in self.hints:
            if hint.exceeds_chance:
                features.setdefault(hint.target, []).append(f"{hint.features} (AUC {hint.auc:.3f})")
        for each in self.associations:
            if each.found:
                features.setdefault("label", []).append(f"{each.trait} (exact test, p = {each.p:.1g})")
        # 43 of 60 simulated sets of 80 patients with 6 images each, taken as independent, gave a false hint
        unless = (
            "" if any(self.grouped.values()) else ", unless several images of each patient make it look so"
        )
        return tuple(
            f"the {target} can be predicted from {' or '.join(each)}{unless}"
            for target, each in features.items()
        )


def _leak_clauses(found: LeakageAudit) -> Iterator[str]:
    if found.crossing:
        many = len(found.crossing)
        groups = "group of equal images stands" if many == 1 else "groups of equal images stand"
        yield f"{many:,} {groups} in more than one split"
    for near in found.near:
        if near.beyond_look_alikes and not near.within:
            yield f"{_matched_share(near)} have a copy, or nearly one, in {near.against}"
    for shared in found.shared or ():
        yield f"{shared.images:,} images of {shared.split} are of groups that also stand in {shared.against}"


def _matched_share(near: NearCopies) -> str:
    return f"{len(near.matches):,} of {near.checked:,} images of {near.split}"


def write_leakage(folder: Path, found: LeakageAudit) -> Path:
    """Write an audit into a folder; replaces one of the same task and size."""
    path = folder / f"{re.sub(r'[^A-Za-z0-9_.+=-]', '_', found.task)}--{found.size}px.json"
    write_json(path, found)
    return path


def read_leakage(run: Path) -> Mapping[tuple[str, int, str], LeakageAudit]:
    """Read the audits of a run directory, by task, size and data.

    `UserError` where one is damaged or of another format: skipping it would hide an audit.
    """
    audits = {}
    for path in sorted((run / LEAKAGE_FOLDER).glob("*.json")):
        try:
            found = msgspec.json.decode(read_regular(path), type=LeakageAudit)
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(
                f"Cannot read the audit {path} ({error}): remove it, or audit again with --run."
            ) from error
        if found.format != LEAKAGE_FORMAT:
            raise UserError(
                f"The audit {path} has the format {found.format}, not {LEAKAGE_FORMAT}: audit again."
            )
        audits[found.task, found.size, found.data] = found
    return audits
