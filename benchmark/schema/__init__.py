"""Plain data that a run writes and reads: cells, plans, records and provenance."""

from typing import TYPE_CHECKING

from ...core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import records
else:
    __getattr__ = import_on_first_use(__name__)
