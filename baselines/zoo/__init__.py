"""Public checkpoints, each described by a TOML card in `cards/`."""

from typing import TYPE_CHECKING

from ...core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import card, files
else:
    __getattr__ = import_on_first_use(__name__)
