"""Plans, tasks, audits and databases as text for a terminal."""

from typing import TYPE_CHECKING

from ...core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import composition, files, inits, judge, leakage, plan, sources, status, tasks
else:
    __getattr__ = import_on_first_use(__name__)
