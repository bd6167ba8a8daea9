"""What every run counts of a task's splits: plain data, which each of its records holds."""

from typing import Literal

import msgspec

Dedupe = Literal["test", "train"]
"""Where equal images are dropped: `test`, or `train`, which means train and val."""


ImagePlace = tuple[str, int]
"""An image: its split, and its row there."""


class EqualImages(msgspec.Struct, frozen=True, kw_only=True):
    """Images that are equal in every pixel.

    Attributes:
        places: where they stand, two at least.
        conflict: their labels differ.
    """

    places: tuple[ImagePlace, ...]
    conflict: bool

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that it stands in, each once."""
        return tuple(dict.fromkeys(split for split, _ in self.places))


class SharedGroups(msgspec.Struct, frozen=True, kw_only=True):
    """Patients, studies or other groups that two splits share.

    Attributes:
        split: of which images are counted.
        against: the other split.
        groups: how many stand in both.
        images: of `split` whose group also stands in `against`.
        known: images of `split` whose group is known.
    """

    split: str
    against: str
    groups: int
    images: int
    known: int


class SplitOverlap(msgspec.Struct, frozen=True, kw_only=True):
    """Images of the test (and validation) split that stand in another split too, and groups that do."""

    test: int
    """Test images, before any were dropped."""
    in_train: int
    in_val: int
    either: int
    """Test images that stand in train or val."""
    conflicts: int
    """Groups of equal images, of test and another split, whose labels differ."""
    val: int
    val_in_train: int
    dropped: bool = False
    """The test images that stand in train or val were left out (`--dedupe`), or their copies there were."""
    dropped_train: int = 0
    """Training images that were left out because they stand in test (`--dedupe train`)."""
    dropped_val: int = 0
    """Likewise of val."""

    known: int = 0
    """Test images whose patient is known, before any were dropped; or any group, where some are shared."""
    shared_groups: int = 0
    """Groups that test shares with train or val."""
    of_shared: int = 0
    """Test images of these groups, before any were dropped."""

    @property
    def sentence(self) -> str:
        """Say what was found, without a full stop; "" where nothing was."""
        return "; ".join(filter(None, (self.equal_clause, self.groups_clause)))

    @property
    def equal_clause(self) -> str:
        """Say which images are equal; likewise."""
        said = []
        if self.either:
            many = f"{self.either:,} of {self.test:,} test images"
            said.append(f"{many} stand in train or val, equal in every pixel, and {self.copies_fate}")
        if self.val_in_train:
            many = f"{self.val_in_train:,} of {self.val:,} validation images"
            said.append(f"{many} stand in train, equal in every pixel")
        return "; ".join(said)

    @property
    def copies_fate(self) -> str:
        """Say what became of the test images that stand in train or val."""
        if self.dropped_train or self.dropped_val:
            copies = f"{self.dropped_train:,} in train and {self.dropped_val:,} in val"
            return f"their copies, {copies}, were dropped (--dedupe train)"
        return "were dropped (--dedupe)" if self.dropped else "count in every score"

    @property
    def leak_clause(self) -> str:
        """Say which test images, or whose patients, count although train or val hold them; likewise."""
        equal = self.equal_clause if self.either and not self.dropped else ""
        return "; ".join(filter(None, (equal, self.groups_clause)))

    @property
    def n_scored(self) -> int:
        """Test images that count in the scores."""
        whole = self.dropped_train or self.dropped_val or not self.dropped
        return self.test if whole else self.test - self.either

    @property
    def mostly_in_train(self) -> bool:
        """Whether train or val surely hold more than half of the test images that count, or their groups."""
        gone = self.either if self.dropped else 0
        return 2 * (max(self.either, self.of_shared) - gone) > self.n_scored

    @property
    def groups_clause(self) -> str:
        """Say how many images are of groups that splits share; likewise."""
        if not self.shared_groups:
            return ""
        many = f"{self.of_shared:,} of {self.known:,} test images"
        groups = (
            "1 group that also stands"
            if self.shared_groups == 1
            else f"{self.shared_groups:,} groups that also stand"
        )
        return f"{many} are of {groups} in train or val: patients, studies or the like"
