"""Audit of a task's splits: copies and groups across splits, shortcuts to split or label."""

from typing import TYPE_CHECKING

from ....core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import audit, outcome
else:
    __getattr__ = import_on_first_use(__name__)
