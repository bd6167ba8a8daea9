"""Classes of license terms, and the strictest terms implied by several sources."""

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
        """The class as written in tables: "share-alike"."""
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
"""A use agreement counts as unknown, since no class covers its terms for weights."""


def terms_of(license: str) -> frozenset[LicenseTerms]:
    """Return the classes of terms in the words of a license; `UNKNOWN` if none matches."""
    words = license.lower()
    found = {terms for terms, pattern in PATTERNS.items() if re.search(pattern, words)}
    return frozenset(found or {LicenseTerms.UNKNOWN})


def restriction_of(license: str) -> str:
    """Return a clause about a license that restricts use, has terms of its own, or is not stated; or ""."""
    if license.lower() in ("", "unknown"):
        return "no license is stated"
    terms = terms_of(license)
    if LicenseTerms.NON_COMMERCIAL in terms or LicenseTerms.NO_DERIVATIVES in terms:
        return f"no commercial use, or no derivatives ({license})"
    return f"read its terms before use ({license})" if LicenseTerms.UNKNOWN in terms else ""


@dataclass(frozen=True)
class ImpliedTerms:
    """Terms that licenses together imply for derived data, the strictest first; no legal advice."""

    strictest: LicenseTerms
    terms: tuple[LicenseTerms, ...]

    def __str__(self) -> str:
        """Return one phrase: the binding classes, and the meaning of the strictest."""
        binding = [terms.word for terms in self.terms if terms or self.strictest is LicenseTerms.PERMISSIVE]
        return f"{' + '.join(binding)}: {MEANING[self.strictest]}"


def implied_terms(licenses: Iterable[str]) -> ImpliedTerms:
    """Return the strictest terms of license texts, and all that occur; none or "" is unknown."""
    found = frozenset[LicenseTerms]().union(*map(terms_of, licenses)) or {LicenseTerms.UNKNOWN}
    ordered = tuple(sorted(found, reverse=True))
    return ImpliedTerms(ordered[0], ordered)
