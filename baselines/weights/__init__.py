"""Checkpoints: reading, checking, matching tensors to a network, and preparing its input."""

from typing import TYPE_CHECKING

from ...core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import checkpoint, input_spec, inspect, load_state_dict
else:
    __getattr__ = import_on_first_use(__name__)
