"""Records for other people: without images, paths and identifiers, with licenses and hashes."""

from typing import TYPE_CHECKING

from ...core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import manifest, publish
else:
    __getattr__ = import_on_first_use(__name__)
