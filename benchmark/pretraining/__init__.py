"""Pretraining of a MedNet: one backbone, one head per source, on one or several machines."""

from typing import TYPE_CHECKING

from ...core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import export, objective, pretrain_result, projection, run_pretraining
else:
    __getattr__ = import_on_first_use(__name__)
