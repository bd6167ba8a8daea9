"""Convert public or private image sets to shards that a pretraining can stream."""

from typing import TYPE_CHECKING

from ...core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import build, build_part, check, describe, source_args
else:
    __getattr__ = import_on_first_use(__name__)
