"""The parts of pyarrow that corpora use; the extra `corpus` installs it."""

from typing import TYPE_CHECKING

from ...core.optional import OptionalModule, import_extra

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import parquet
else:
    _WHY = ("corpus", "A corpus")
    pa = OptionalModule("pyarrow", *_WHY)
    pc = OptionalModule("pyarrow.compute", *_WHY)
    parquet = OptionalModule("pyarrow.parquet", *_WHY)


def require_arrow() -> None:
    """Raise the `UserError` that names the extra, before any work, if pyarrow is not installed."""
    import_extra("pyarrow", "corpus", "A corpus")
