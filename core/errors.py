"""The two exceptions that a user is meant to read, and what keeps text of others harmless."""

import difflib
import re
from collections.abc import Iterable

LONGEST_LIST = 60
"""Names that one sentence can list; timm alone knows 1,300 architectures."""


_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff\ufff9-\ufffb\ufffe\uffff]"
)
_BREAKS = re.compile(r"[\t-\r\x85\u2028\u2029]+")


def clean(text: str) -> str:
    """Return text that steers no terminal, breaks no document and reorders nothing around it.

    Control characters (C0 but for tab and newline, DEL, C1), marks of writing direction and lone surrogates
    become U+FFFD. Whatever is printed, logged or written for a person passes here or through `one_line`.
    """
    return _CONTROL.sub("\ufffd", text)


def one_line(text: str) -> str:
    """Return `clean` text with a space for every tab and break: no name can feign a line of its own."""
    return clean(_BREAKS.sub(" ", text))


class UserError(Exception):
    """A request that cannot be carried out, told in one sentence that names the cure (exit code 2).

    Args:
        sentence: on one line.
        example: lines of ours that are shown below it.
    """

    def __init__(self, sentence: str, example: str = "") -> None:
        super().__init__(sentence)
        self.example = example


class StoppedError(Exception):
    """A run that could not go on, told in one sentence; what is finished is kept (exit code 1)."""


def unknown_name_error(what: str, name: str, known: Iterable[str]) -> UserError:
    """Build the error for a name that nobody registered.

    Args:
        what: what the name should have been, in the singular (``"task"``).
        name: the name as the user wrote it.
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
