"""The command line."""

from typing import TYPE_CHECKING

from ..core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import cache_content, doctor
else:
    __getattr__ = import_on_first_use(__name__)
