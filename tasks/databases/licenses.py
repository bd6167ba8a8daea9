"""What a license allows, in classes, and the strictest terms that sources leave for what is made of them."""

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass


class LicenseTerms(enum.IntEnum):
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
    LicenseTerms.PERMISSIVE: "no condition beyond the notice of the license",
    LicenseTerms.ATTRIBUTION: "name the sources",
    LicenseTerms.SHARE_ALIKE: "name the sources, and share what is made of this under the same license only",
    LicenseTerms.NON_COMMERCIAL: "no commercial use",
    LicenseTerms.NO_DERIVATIVES: "the terms of a source forbid to share it, or what is made of it",
    LicenseTerms.UNKNOWN: "the terms of a source are not known or contradict each other: "
    "read them before sharing",
}

# A catalog describes licenses in words; each pattern adds a class, so that BY-NC-SA has three.
PATTERNS = {
    LicenseTerms.PERMISSIVE: r"\bcc[ -]?0\b|public domain|\bmit\b|\bapache\b|\bbsd\b|\bcdla-permissive\b",
    LicenseTerms.ATTRIBUTION: r"\bcc[ -]by\b|attribution|citation|\bodc-by\b",
    LicenseTerms.SHARE_ALIKE: r"\bsa\b|share[ -]?alike|\bodbl\b",
    LicenseTerms.NON_COMMERCIAL: r"\bnc\b|non-?commercial|\bresearch\b|\bacademic\b",
    LicenseTerms.NO_DERIVATIVES: r"\bnd\b|no[ -]deriv|\bno (re)?(distribution|sharing)\b",
    LicenseTerms.UNKNOWN: r"unknown|unclear|not read|mixed|conflict|\bvs\b|^parents$|challenge"
    r"|no specific|uploader"
    r"|agreement|\bdua\b|\brua\b|\bmta\b|\beula\b|\bgated\b|\bcredentialed\b|\brestricted\b|\bcustom\b",
}
"""A use agreement counts as unknown: what it allows for weights stands in its text and in no class."""


def terms_of(license: str) -> frozenset[LicenseTerms]:
    """Return the classes of terms in a license described in words; `UNKNOWN` where none is seen."""
    words = license.lower()
    found = {terms for terms, pattern in PATTERNS.items() if re.search(pattern, words)}
    return frozenset(found or {LicenseTerms.UNKNOWN})


@dataclass(frozen=True)
class ImpliedTerms:
    """What several licenses together leave for the thing made of them; a summary, and no legal advice.

    Attributes:
        strictest: the class that decides.
        terms: every class that occurs, the strictest first.
    """

    strictest: LicenseTerms
    terms: tuple[LicenseTerms, ...]

    def __str__(self) -> str:
        """Return one phrase: the classes that bind, and what the strictest of them means."""
        binding = [terms.word for terms in self.terms if terms or self.strictest is LicenseTerms.PERMISSIVE]
        return f"{' + '.join(binding)}: {MEANING[self.strictest]}"


def implied_terms(licenses: Iterable[str]) -> ImpliedTerms:
    """Return the strictest class of terms among `licenses`, and all that occur.

    Args:
        licenses: one text per source, as in its card; "" is unknown, and so is what names none at all.
    """
    found = frozenset[LicenseTerms]().union(*map(terms_of, licenses)) or {LicenseTerms.UNKNOWN}
    ordered = tuple(sorted(found, reverse=True))
    return ImpliedTerms(ordered[0], ordered)
