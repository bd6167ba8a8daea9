"""Pretraining sources: what the weights of a network start from."""

from typing import TYPE_CHECKING

from ..core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import naming
else:
    __getattr__ = import_on_first_use(__name__)
