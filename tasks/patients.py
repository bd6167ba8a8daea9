"""The patient in a file's path, found by the pattern that a card gives."""

import re

from ..benchmark.errors import UserError


def finder(pattern: str, key: str) -> "re.Pattern[str] | None":
    """Compile a card's pattern, whose first parenthesis is the patient; None for "".

    Args:
        pattern: a regular expression.
        key: which key of which card it is, for the message.

    Raises:
        UserError: it is no regular expression, or has no parenthesis.
    """
    if not pattern:
        return None
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise UserError(f"{key}: it is no regular expression ({error}): correct it.") from error
    if not found.groups:
        raise UserError(f"{key}: put the patient into parentheses.")
    return found


def patient_in(path: str, pattern: "re.Pattern[str] | None") -> str:
    """Return the patient in a path, "" where there is none."""
    found = pattern.search(path) if pattern else None
    return found[1] or "" if found else ""
