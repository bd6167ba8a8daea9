"""Which images of a split have a near copy, and what that means: plain data."""

import msgspec

from ..contamination.outcome import FALSE_SHARE


class NearestCopy(msgspec.Struct, frozen=True, kw_only=True):
    """An image and its nearest copy, in another split or in the same one.

    Attributes:
        row: of the image in its split.
        other: row of the copy in the split where it was looked for.
        correlation: of their details, 0.96 to 1.
        exact: they are equal in every pixel.
        conflict: their labels differ.
    """

    row: int
    other: int
    correlation: float
    exact: bool
    conflict: bool


class NearCopies(msgspec.Struct, frozen=True, kw_only=True):
    """The images of one split that have a near copy in another, or in the same one.

    Attributes:
        split: whose images were looked for.
        against: where they were looked for; the same split where its images were looked for among each other.
        checked: images that were looked for; those that show nothing cannot be.
        matches: each image at most once, by row.
        interval: 95 % Clopper-Pearson interval of the share that matched.
    """

    split: str
    against: str
    checked: int
    matches: tuple[NearestCopy, ...]
    interval: tuple[float, float]

    @property
    def beyond_look_alikes(self) -> bool:
        """Whether there are more than images of one kind that merely look alike would give."""
        return self.interval[0] > FALSE_SHARE

    @property
    def within(self) -> bool:
        """Whether images of one split were looked for among each other: their copies are no leak."""
        return self.split == self.against

    @property
    def where(self) -> str:
        """What was looked for where, e.g. "test in train" or "within train"."""
        return f"within {self.split}" if self.within else f"{self.split} in {self.against}"

    @property
    def means(self) -> str:
        """What that says of the splits."""
        if not self.matches:
            return "clean" if self.checked else "not looked"
        if all(match.exact for match in self.matches):
            return "equal images only"
        if not self.beyond_look_alikes:
            return "look-alikes may explain it"
        return "counted more than once" if self.within else "leak"
