"""Files that the cells of a table name: by pattern, whatever suffix, case or spelling they have."""

import os
import re
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from .folders import images_below, is_file
from .schema import fault_of_path

PLAIN = "{id}"
"""Pattern of a cell that is the path itself."""
PATTERNS = (
    PLAIN, "{id}.*", "**/{id}", "**/{id}.*", "{stem}.*", "**/{name}", "**/{stem}.*", "{id}/**/*",
    "sub-{id}/**/*", "**/{id}/**/*",
)  # fmt: skip
"""Patterns that a draft tries, in this order."""
_FIELD = re.compile(r"\{([^{}:]*)(?::0([1-9][0-9]?))?\}")
_SUFFIX = re.compile(r"(?<=[^/])\.[A-Za-z][^./]*(?:\.gz)?$")
"""Suffix of a name, no decimals."""
_WILDCARDS = {"**/": "\0d", "*": "\0s", "?": "\0q"}
_EXPRESSIONS = {"\0d": "(?:.*/)?", "\0s": "[^/]*", "\0q": "[^/]", "\0x": r"\.[^/.]+(?:\.gz)?"}
_LARGEST_CODEPOINT = "\U0010ffff"


def fold_path(path: str) -> str:
    """Return a path in one spelling: composed (NFC), lower case, / between folders."""
    composed = unicodedata.normalize("NFC", path.replace("\\", "/"))
    return unicodedata.normalize("NFC", composed.casefold())


def pattern_fields(pattern: str) -> tuple[str, ...]:
    """Return the names in braces."""
    return tuple(found[1] for found in _FIELD.finditer(pattern))


def takes_several(pattern: str) -> bool:
    """Whether a pattern is meant to find several files for a row, as "{id}/**/*" does."""
    rest = re.sub(r"\.\*$", "", pattern).replace("**/", "")
    return "*" in rest or "?" in rest


def fill_pattern(pattern: str, cell: str, row: Mapping[str, str]) -> str:
    """Return a pattern with the cells of a row in it, wildcards as in `_EXPRESSIONS`; "" without a cell.

    {id} is `cell`, {name} its last part, {stem} that without its suffix, {id:03} has zeros up to 3
    characters before it, and another word is a column of `row`.
    """
    cell = cell.replace("\\", "/")
    name = PurePosixPath(cell).name
    parts = {"id": cell, "name": name, "stem": _SUFFIX.sub("", cell)}
    if pattern.startswith("**/"):
        parts["stem"] = PurePosixPath(parts["stem"]).name
    filled, end = [], 0
    for found in _FIELD.finditer(pattern):
        value = parts[found[1]] if found[1] in parts else row.get(found[1], "")
        if not value or "\0" in value:
            return ""
        filled += [_mark_wildcards(pattern[end : found.start()]), value.zfill(int(found[2] or 0))]
        end = found.end()
    tail = pattern[end:]
    if tail.endswith(".*"):
        return "".join([*filled, _mark_wildcards(tail[:-2]), "\0x"])
    return "".join([*filled, _mark_wildcards(tail)])


def _mark_wildcards(literal: str) -> str:
    for wildcard, mark in _WILDCARDS.items():
        literal = literal.replace(wildcard, mark)
    return literal


def _expression(filled: str) -> "re.Pattern[str]":
    pieces = re.split("(\0[dsqx])", filled)
    return re.compile("".join(_EXPRESSIONS.get(piece) or re.escape(piece) for piece in pieces), re.DOTALL)


class FileSearch:
    """Finds files below `root`; lists them once, when a cell does not name one as it is."""

    def __init__(self, root: Path, allow_outside: bool = False) -> None:
        self.root = root
        self.allow_outside = allow_outside
        self.listed = False

    @cached_property
    def paths(self) -> list[tuple[str, str]]:
        """Folded and real path of every image, sorted."""
        self.listed = True
        return sorted((fold_path(path), path) for path in images_below(self.root))

    @cached_property
    def names(self) -> list[tuple[str, str]]:
        """Folded name and real path of every image, sorted."""
        return sorted((folded.rpartition("/")[2], path) for folded, path in self.paths)

    def find(self, pattern: str, cell: str, row: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Return the paths that a row names, sorted; one in the very spelling is preferred."""
        if pattern == PLAIN:
            path = os.path.normpath(cell) if cell else ""
            if not fault_of_path(path, self.allow_outside) and is_file(self.root / path):
                return (path,)
        filled = fill_pattern(pattern, cell, row or {})
        if not filled or filled.startswith("/"):
            return ()
        filled = re.sub(r"^(?:\./)+|(?<=/)(?:\./)+", "", filled)
        found = list(self._matches(fold_path(filled)))
        exact = _expression(unicodedata.normalize("NFC", filled))
        same = [path for path in found if exact.fullmatch(unicodedata.normalize("NFC", path))]
        return tuple(sorted(same or found))

    def _matches(self, filled: str) -> Iterator[str]:
        start, name = filled.partition("\0")[0], re.split("/|\0d", filled)[-1].partition("\0")[0]
        among, prefix = (self.names, name) if name and not start else (self.paths, start)
        first = bisect_left(among, (prefix, ""))
        last = bisect_left(among, (prefix + _LARGEST_CODEPOINT, "")) if prefix else len(among)
        expression = _expression(filled)
        for _, path in among[first:last]:
            if expression.fullmatch(fold_path(path)):
                yield path


def propose_path_pattern(search: FileSearch, cells: Sequence[str]) -> tuple[str, int]:
    """Return the first pattern that finds files for more than half of the cells, and for how many; or "", 0.

    Several files per cell count only for patterns that are meant to find several.
    """
    for pattern in (*PATTERNS, *padded_patterns(search)):
        found = [search.find(pattern, cell) for cell in cells]
        hits = sum(len(each) == 1 or (takes_several(pattern) and len(each) > 1) for each in found)
        if 2 * hits > len(cells):
            return pattern, hits
    return "", 0


def padded_patterns(search: FileSearch) -> tuple[str, ...]:
    """Return the pattern of names that are numbers with leading zeros, if there are such."""
    stems = (PurePosixPath(path).name.partition(".")[0] for _, path in search.paths)
    widths = Counter(len(stem) for stem in stems if stem.isdecimal() and stem[0] == "0")
    return (f"**/{{id:0{widths.most_common(1)[0][0]}}}.*",) if widths else ()
