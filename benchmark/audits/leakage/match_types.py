"""Images of a split with a near copy, as plain data, and their interpretation."""

import msgspec

from ..contamination.outcome import FALSE_SHARE


class NearestCopy(msgspec.Struct, frozen=True, kw_only=True):
    """An image and its nearest copy, in another split or in the same one.

    Attributes:
        row: of the image in its split.
        other: row of the copy in the split that was searched.
        correlation: of their details, 0.96 to 1.
    """

    row: int
    other: int
    correlation: float
    exact: bool
    conflict: bool


class NearCopies(msgspec.Struct, frozen=True, kw_only=True):
    """The images of one split that have a near copy in another, or in the same one.

    Attributes:
        split: whose images were searched for.
        against: the split that was searched; may be the same.
        checked: number of images searched for, without blank ones.
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
        """Whether there are more matches than look-alike images explain."""
        return self.interval[0] > FALSE_SHARE

    @property
    def within(self) -> bool:
        """Whether a split was searched for copies of its own images, which are no leak."""
        return self.split == self.against

    @property
    def where(self) -> str:
        """Splits of the search, e.g. "test in train" or "within train"."""
        return f"within {self.split}" if self.within else f"{self.split} in {self.against}"

    @property
    def means(self) -> str:
        """Interpretation of the matches in one phrase."""
        if not self.matches:
            return "clean" if self.checked else "not looked"
        if all(match.exact for match in self.matches):
            return "equal images only"
        if not self.beyond_look_alikes:
            return "look-alikes may explain it"
        return "counted more than once" if self.within else "leak"
