"""What a licence allows, in classes, and the strictest terms that sources leave for what is made of them."""

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass


class Terms(enum.IntEnum):
    """Classes of terms, from the freest to the strictest."""

    PERMISSIVE = 0
    ATTRIBUTION = 1
    SHARE_ALIKE = 2
    NON_COMMERCIAL = 3
    NO_DERIVATIVES = 4
    UNKNOWN = 5

    @property
    def word(self) -> str:
        """The class as it is written in tables: "share-alike"."""
        return self.name.lower().replace("_", "-")


MEANING = {
    Terms.PERMISSIVE: "no condition beyond the notice of the licence",
    Terms.ATTRIBUTION: "name the sources",
    Terms.SHARE_ALIKE: "name the sources, and share what is made of this under the same licence only",
    Terms.NON_COMMERCIAL: "no commercial use",
    Terms.NO_DERIVATIVES: "the terms of a source forbid to share it, or what is made of it",
    Terms.UNKNOWN: "the terms of a source are not known or contradict each other: read them before sharing",
}

# A catalogue describes licences in words; each pattern adds a class, so that BY-NC-SA has three.
PATTERNS = {
    Terms.PERMISSIVE: r"\bcc[ -]?0\b|public domain|\bmit\b|\bapache\b|\bbsd\b|\bcdla-permissive\b",
    Terms.ATTRIBUTION: r"\bcc[ -]by\b|attribution|citation|\bodc-by\b",
    Terms.SHARE_ALIKE: r"\bsa\b|share[ -]?alike|\bodbl\b",
    Terms.NON_COMMERCIAL: r"\bnc\b|non-?commercial|\bresearch\b|\bacademic\b",
    Terms.NO_DERIVATIVES: r"\bnd\b|no[ -]deriv|\bno (re)?(distribution|sharing)\b",
    Terms.UNKNOWN: r"unknown|unclear|not read|mixed|conflict|\bvs\b|^parents$|challenge|no specific|uploader"
    r"|agreement|\bdua\b|\brua\b|\bmta\b|\beula\b|\bgated\b|\bcredentialed\b|\brestricted\b|\bcustom\b",
}
"""A use agreement counts as unknown: what it allows for weights stands in its text and in no class."""


def terms_of(licence: str) -> frozenset[Terms]:
    """Return the classes of terms in a licence described in words; `UNKNOWN` where none is seen."""
    words = licence.lower()
    found = {terms for terms, pattern in PATTERNS.items() if re.search(pattern, words)}
    return frozenset(found or {Terms.UNKNOWN})


@dataclass(frozen=True)
class Implied:
    """What several licences together leave for the thing made of them; a summary, and no legal advice.

    Attributes:
        strictest: the class that decides.
        terms: every class that occurs, the strictest first.
    """

    strictest: Terms
    terms: tuple[Terms, ...]

    def __str__(self) -> str:
        """Return one phrase: the classes that bind, and what the strictest of them means."""
        binding = [terms.word for terms in self.terms if terms or self.strictest is Terms.PERMISSIVE]
        return f"{' + '.join(binding)}: {MEANING[self.strictest]}"


def implied(licences: Iterable[str]) -> Implied:
    """Return the strictest class of terms among `licences`, and all that occur.

    Args:
        licences: one text per source, as in its card; "" is unknown, and so is what names none at all.
    """
    found = frozenset[Terms]().union(*map(terms_of, licences)) or {Terms.UNKNOWN}
    ordered = tuple(sorted(found, reverse=True))
    return Implied(ordered[0], ordered)
