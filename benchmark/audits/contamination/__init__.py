"""Audit whether weights have seen a task's test images: by declaration and by measurement."""

from typing import TYPE_CHECKING

from ....core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import audit, outcome
else:
    __getattr__ = import_on_first_use(__name__)
