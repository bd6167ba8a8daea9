"""Labels in the cells of a table: separators, spelling, the card's map, cells without a label."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from .table import NOTHING

SEPARATORS = ("|", ";", ",", "/", "+", "&")
"""Separators that a draft recognizes; the first two never occur within a label."""
NO_FINDING = frozenset({"no finding", "no findings", "normal", "healthy", "negative", "unremarkable"})
"""Labels that exclude all others, as `plain_label`."""
ANY_OTHER = "*"
"""Key of a label map for every label that is neither a class nor another key."""


def plain_label(word: str) -> str:
    """Return a label without differences of case, blanks, Unicode form or a final .0 of a number."""
    word = " ".join(unicodedata.normalize("NFC", word).casefold().split())
    return re.sub(r"^(-?[0-9]+)\.0+$", r"\1", word)


def is_nothing(word: str) -> bool:
    """Whether a cell counts as empty, unless a class is called so."""
    return word.strip().casefold() in NOTHING


@dataclass(frozen=True)
class LabelReader:
    """Finds the class of a label by its exact spelling, else by `plain_label`, else by the label map.

    `label_map` leads from labels to classes, or to "" for labels that are to be left out.
    """

    classes: Sequence[str]
    label_map: Mapping[str, str]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.classes)}

    @cached_property
    def _targets(self) -> dict[str, int | None]:
        """Class number, or None for no class, by exact and, where that is unique, by plain label."""
        exact: dict[str, int | None] = {
            **self._numbers, **{word: self._numbers.get(name) for word, name in self.label_map.items()}
        }  # fmt: skip
        plain: defaultdict[str, set[int | None]] = defaultdict(set)
        for word, number in exact.items():
            plain[plain_label(word)].add(number)
        return {**{word: next(iter(each)) for word, each in plain.items() if len(each) == 1}, **exact}

    def find(self, word: str) -> int | None:
        """Return the class of a label, None for no label; `KeyError` for an unknown one."""
        for spelling in (word, plain_label(word)):
            if spelling in self._targets and spelling != ANY_OTHER:
                return self._targets[spelling]
        if is_nothing(word):
            return None
        return self._targets[ANY_OTHER]


@dataclass(frozen=True)
class LabelWords:
    """Labels of a column, as a draft takes them.

    Attributes:
        classes: in the most frequent spelling, numbers in the order of numbers.
        merged: classes that occur in several spellings, which are one class.
        separator: between the labels of a cell, or "" if each cell is one label.
        unlabeled: number of cells without a label.
        nothing: number of cells that say "none" and the like, in words.
        none_is_class: whether "none" is a class, since it would be the only other one.
        no_finding: class of several labels that means none of the others, or "".
    """

    classes: tuple[str, ...]
    merged: tuple[str, ...]
    separator: str
    unlabeled: int
    nothing: int
    none_is_class: bool
    no_finding: str = ""


def read_label_words(
    cells: Sequence[str], separator: str | None = None, none: str = "", merge: bool = True
) -> LabelWords:
    """Find the classes in a column of labels.

    Args:
        cells: stripped, as they are in the table.
        separator: that of the card; None finds it out, "" is none.
        none: "class" or "left out", to take the word "none" as that.
        merge: whether labels that differ only in spelling are one class.
    """
    separator = find_separator(cells) if separator is None else separator
    words = Counter(word for cell in cells for word in split_label(cell, separator))
    called_none = Counter({word: many for word, many in words.items() if plain_label(word) == "none"})
    known = {word: many for word, many in words.items() if not is_nothing(word)}
    classes, merged = _spell(known) if merge else ([*known], ())
    as_class = bool(called_none) and (none == "class" or (len(classes) < 2 and none != "left out"))
    if as_class and not separator:
        classes = [*classes, called_none.most_common(1)[0][0]]
    absent = sum(is_nothing(cell) and not (as_class and plain_label(cell) == "none") for cell in cells)
    in_words = sum(bool(cell) and is_nothing(cell) for cell in cells)
    found = tuple(sorted(classes, key=natural_order))
    no_finding = next((name for name in found if separator and plain_label(name) in NO_FINDING), "")
    return LabelWords(found, merged, separator, absent, in_words, as_class and not separator, no_finding)


def find_separator(cells: Iterable[str]) -> str:
    """Return the separator of several labels in a cell, or "".

    Bars and semicolons separate always; the others if half of the parts are also labels of their own, as in
    "Effusion, Mass" beside "Mass", but not in "left, upper".
    """
    kinds = {cell for cell in cells if cell and not is_nothing(cell)}
    for separator in SEPARATORS:
        several = [split_label(cell, separator) for cell in kinds if separator in cell]
        several = [words for words in several if len(words) > 1]
        parts = {plain_label(word) for words in several for word in words}
        alone = {plain_label(cell) for cell in kinds} & parts
        if parts and (separator in SEPARATORS[:2] or 2 * len(alone) >= len(parts)):
            return separator
    return ""


def split_label(cell: str, separator: str) -> tuple[str, ...]:
    """Return the labels in a cell."""
    words = cell.split(separator) if separator else [cell]
    return tuple(word for word in map(str.strip, words) if word)


def _spell(words: Mapping[str, int]) -> tuple[list[str], tuple[str, ...]]:
    """Return each class in its most frequent spelling, and those of several spellings."""
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for word in sorted(words, key=lambda word: (-words[word], word)):
        spellings[plain_label(word)].append(word)
    return [each[0] for each in spellings.values()], tuple(
        sorted(each[0] for each in spellings.values() if len(each) > 1)
    )


def natural_order(name: str) -> list[tuple[bool, int, str]]:
    """Return a sort key that puts 2 before 10, and "grade 2" before "grade 10"."""
    parts = filter(None, re.split(r"([0-9]{1,18})", name))
    return [(False, int(part), "") if re.fullmatch("[0-9]+", part) else (True, 0, part) for part in parts]


def are_grades(classes: Collection[str]) -> bool:
    """Whether the classes are more than two whole numbers, which have an order."""
    return len(classes) > 2 and all(re.fullmatch(r"[0-9]{1,9}", name) for name in classes)
