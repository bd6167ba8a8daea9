"""Classification tasks: cards, catalog, and sources of images."""

from typing import TYPE_CHECKING

from ..core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import card, card_path, catalog, data_paths, pseudonymize, task
else:
    __getattr__ = import_on_first_use(__name__)
