"""Repeat published results by their own protocol and compare."""

from typing import TYPE_CHECKING

from ...core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import outcome, run_config, study
else:
    __getattr__ = import_on_first_use(__name__)
