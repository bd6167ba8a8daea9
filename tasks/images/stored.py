"""Values of an array or volume, checked against file size and limits before reading."""

from typing import IO

from .reader import LARGEST_FILE, UnreadableError

DEFLATE_RATIO = 1032
"""Maximum expansion of a deflated byte."""


def stored_values(file: IO[bytes], begin: int, size: int, most: int, what: str) -> bytes:
    """Read the values of an array or volume, checking their size before any allocation.

    Args:
        file: open file, maybe a decompressing one.
        begin: offset of the values in bytes.
        size: their size in bytes, as the header declares.
        most: maximum unpacked bytes of the file.
        what: name of the values, for the message.

    Raises:
        UnreadableError: they exceed `LARGEST_FILE`, or the file is too short.
    """
    if size > LARGEST_FILE:
        raise UnreadableError(f"its {what} has {size:,} bytes, and at most {LARGEST_FILE:,} are read")
    if begin < 0 or begin + size > most:
        raise UnreadableError("its values are cut off: the file is too short for what it declares")
    file.seek(begin)
    content = file.read(size)
    if len(content) < size:
        raise UnreadableError(f"its values are cut off: {len(content):,} of {size:,} bytes")
    return content
