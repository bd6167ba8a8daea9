"""Leakage audit: what of a task's test split its training could already know.

A module builds only on those of its own line, or of one above it:

    matches, outcome, counted            what is found, as plain data
    equal, groups, near, within          images and groups that stand in two places
    figures, shortcuts                   what tells split or label without the content of an image
    pictures                             pairs side by side
    copies                               the cheap part, for every run
    audit                                all of it, for a task or a card
"""

from typing import TYPE_CHECKING

from ....core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import audit, outcome
else:
    __getattr__ = import_on_first_use(__name__)
