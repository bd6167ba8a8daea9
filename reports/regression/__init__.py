"""Changes between two runs, and judgment of a run against a baseline."""

from typing import TYPE_CHECKING

from ...core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import compare, regress
else:
    __getattr__ = import_on_first_use(__name__)
