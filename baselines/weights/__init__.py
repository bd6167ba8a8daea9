"""Reading, checking and loading of checkpoints, and preparation of the network's input."""

from typing import TYPE_CHECKING

from ...core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import checkpoint, input_spec, inspect, load_state_dict
else:
    __getattr__ = import_on_first_use(__name__)
