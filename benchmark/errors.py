"""The two exceptions that a user is meant to read."""

import difflib
from collections.abc import Iterable

MOST = 60
"""Names that one sentence can list; timm alone knows 1,300 architectures."""


class UserError(Exception):
    """A request that cannot be carried out, told in one sentence that names the cure (exit code 2)."""


class StoppedError(Exception):
    """A run that could not go on, told in one sentence; what is finished is kept (exit code 1)."""


def unknown(what: str, name: str, known: Iterable[str]) -> UserError:
    """Build the error for a name that nobody registered.

    Args:
        what: what the name should have been, in the singular (``"task"``).
        name: the name as the user wrote it.
        known: every valid name.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    few = ", ".join(names) if len(names) <= MOST else f"{len(names):,} others, such as {', '.join(names[:3])}"
    hint = f"did you mean '{near[0]}'?" if near else f"known: {few or 'none'}."
    return UserError(f"There is no {what} '{name}'; {hint}")
