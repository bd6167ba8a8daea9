"""What is classified: tasks, their cards, the catalog, and where images come from."""

from typing import TYPE_CHECKING

from ..core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import catalog, data_paths, pseudonymize, task
else:
    __getattr__ = import_on_first_use(__name__)
