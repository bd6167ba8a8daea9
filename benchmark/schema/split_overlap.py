"""Images and groups shared by a task's splits, as each record stores them."""

from typing import Literal

import msgspec

Dedupe = Literal["test", "train"]
"""Where equal images are dropped: `test`, or `train` for train and val."""
ImagePlace = tuple[str, int]
"""Split and row of an image."""


class EqualImages(msgspec.Struct, frozen=True, kw_only=True):
    """Two or more images that are equal in every pixel."""

    places: tuple[ImagePlace, ...]
    conflict: bool
    """Whether their labels differ."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits of the images, each once."""
        return tuple(dict.fromkeys(split for split, _ in self.places))


class SharedGroups(msgspec.Struct, frozen=True, kw_only=True):
    """Number of patients, studies or other groups shared by two splits.

    `images` of `split` have a group that is also in `against`; of `known` ones the group is known.
    """

    split: str
    against: str
    groups: int
    images: int
    known: int


class SplitOverlap(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of test and validation images, and groups, that are also in another split."""

    test: int
    """Test images before any are dropped."""
    in_train: int
    in_val: int
    either: int
    """Test images that are in train or val."""
    conflicts: int
    """Sets of equal images, of test and another split, whose labels differ."""
    val: int
    val_in_train: int
    dropped: bool = False
    """Whether these test images (`--dedupe`), or their copies in train and val, were dropped."""
    dropped_train: int = 0
    """Training images dropped because they are in test (`--dedupe train`)."""
    dropped_val: int = 0
    """Validation images dropped because they are in test."""
    known: int = 0
    """Test images whose patient, or other group where some are shared, is known; before dropping."""
    shared_groups: int = 0
    of_shared: int = 0
    """Test images of groups shared with train or val, before any are dropped."""

    @property
    def sentence(self) -> str:
        """Describe all overlap, without a full stop; "" where there is none."""
        return "; ".join(filter(None, (self.equal_clause, self.groups_clause)))

    @property
    def equal_clause(self) -> str:
        """Describe the equal images; "" where there are none."""
        clauses = []
        if self.either:
            many = f"{self.either:,} of {self.test:,} test images"
            clauses.append(f"{many} stand in train or val, equal in every pixel, and {self.copies_fate}")
        if self.val_in_train:
            many = f"{self.val_in_train:,} of {self.val:,} validation images"
            clauses.append(f"{many} stand in train, equal in every pixel")
        return "; ".join(clauses)

    @property
    def copies_fate(self) -> str:
        """Say whether the equal test images count, or what was dropped."""
        if self.dropped_train or self.dropped_val:
            copies = f"{self.dropped_train:,} in train and {self.dropped_val:,} in val"
            return f"their copies, {copies}, were dropped (--dedupe train)"
        return "were dropped (--dedupe)" if self.dropped else "count in every score"

    @property
    def leak_clause(self) -> str:
        """Describe the overlap that counts in the scores; "" where there is none."""
        equal = self.equal_clause if self.either and not self.dropped else ""
        return "; ".join(filter(None, (equal, self.groups_clause)))

    @property
    def n_scored(self) -> int:
        """Number of test images that count in the scores."""
        whole = self.dropped_train or self.dropped_val or not self.dropped
        return self.test if whole else self.test - self.either

    @property
    def mostly_in_train(self) -> bool:
        """Whether more than half of the scored test images, or their groups, are in train or val."""
        dropped = self.either if self.dropped else 0
        return 2 * (max(self.either, self.of_shared) - dropped) > self.n_scored

    @property
    def groups_clause(self) -> str:
        """Describe the shared groups; "" where there are none."""
        if not self.shared_groups:
            return ""
        many = f"{self.of_shared:,} of {self.known:,} test images"
        n = self.shared_groups
        groups = "1 group that also stands" if n == 1 else f"{n:,} groups that also stand"
        return f"{many} are of {groups} in train or val: patients, studies or the like"
