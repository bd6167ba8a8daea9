"""What changed between two runs, and whether a run is worse than a baseline."""

from typing import TYPE_CHECKING

from ...core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import compare, regress
else:
    __getattr__ = import_on_first_use(__name__)
