"""The values that a file declares to hold: held against its length and the memory, then read."""

from typing import IO

from .reader import LARGEST_FILE, UnreadableError

DEFLATE_RATIO = 1032
"""No deflated byte becomes more than so many."""


def stored_values(file: IO[bytes], begin: int, size: int, most: int, what: str) -> bytes:
    """Read the values of an array or volume; nothing is allocated or unpacked before it is known to fit.

    Args:
        file: open, also inside of a compressed one.
        begin: where the values start, in bytes.
        size: how many bytes they take, as the header declares.
        most: bytes that the file can hold, unpacked.
        what: holds them, for the message.

    Raises:
        UnreadableError: they are more than is read, or the file is too short for them.
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
