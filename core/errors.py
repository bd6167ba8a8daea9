"""Errors whose message is for users, and the cleaning of foreign text."""

import difflib
import re
from collections.abc import Iterable

LONGEST_LIST = 60
"""Most names in one sentence; timm alone knows 1,300 architectures."""

_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff\ufff9-\ufffb\ufffe\uffff]"
)
_BREAKS = re.compile(r"[\t-\r\x85\u2028\u2029]+")


def clean(text: str) -> str:
    """Return text that cannot steer a terminal, break a document or reorder text around it.

    Control characters (C0 except tab and newline, DEL, C1), marks of writing direction and lone surrogates
    become U+FFFD. All text for people passes through here or `one_line`.
    """
    return _CONTROL.sub("\ufffd", text)


def one_line(text: str) -> str:
    """Return `clean` text with spaces for tabs and line breaks: no name can fake a line."""
    return clean(_BREAKS.sub(" ", text))


class UserError(Exception):
    """A request that cannot be fulfilled (exit code 2).

    Args:
        sentence: one line that says what is wrong and names the cure.
        example: lines to show below it.
    """

    def __init__(self, sentence: str, example: str = "") -> None:
        super().__init__(sentence)
        self.example = example
        self.__notes__ = [example] if example else []  # Python 3.11 and newer show it below the sentence


class StoppedError(Exception):
    """A run that had to stop (exit code 1), in one sentence; what is finished is kept."""


def unknown_name_error(what: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for a name that is not among `known`; it suggests the nearest one.

    Args:
        what: the kind of thing, in the singular (``"task"``).
        name: as the user wrote it.
        known: every valid name.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    few = (
        ", ".join(names)
        if len(names) <= LONGEST_LIST
        else f"{len(names):,} others, such as {', '.join(names[:3])}"
    )
    hint = f"did you mean '{near[0]}'?" if near else f"known: {few or 'none'}."
    return UserError(f"There is no {what} '{name}'; {hint}")
