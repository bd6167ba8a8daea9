"""Image size declared inside a compressed frame, read before any decoder allocates for it."""

import struct

from .reader import UnreadableError

SCAN = 0xFFDA
STARTS = {*range(0xFFC0, 0xFFD0), 0xFFF7} - {0xFFC4, 0xFFC8, 0xFFCC}
"""Markers of a JPEG or JPEG-LS frame header; the excluded ones are tables."""


def declared_size(frame: bytes) -> tuple[int, int] | None:
    """Return (height, width) from the header of a JPEG, JPEG-LS or JPEG 2000 frame, else None.

    None for other kinds (RLE declares no size) and for broken headers, which the decoder reports.

    Raises:
        UnreadableError: JP2 boxes do not lead to a codestream; pydicom would search forever.
    """
    try:
        if frame[:4] == b"\xff\x4f\xff\x51":
            return _jpeg2000(frame, 2)
        if frame[4:8] == b"jP  ":  # a JP2 file around the codestream
            return _jpeg2000(frame, _codestream(frame) + 2)
        if frame[:2] == b"\xff\xd8":
            return _jpeg(frame)
    except struct.error:  # the frame ends in its header
        pass
    return None


def _codestream(frame: bytes) -> int:
    """Return the offset of the codestream in a JP2 file."""
    at = 12
    while True:
        length, kind = struct.unpack_from(">I4s", frame, at)
        if kind == b"jp2c":
            return at + 8
        if length == 0:
            raise UnreadableError("the boxes around its JPEG 2000 data are broken")
        at += length


def _jpeg2000(frame: bytes, at: int) -> tuple[int, int]:
    """Read the SIZ segment with its marker at `at`: the reference grid minus its offset."""
    right, bottom, left, top = struct.unpack_from(">4I", frame, at + 6)
    return bottom - top, right - left


def _jpeg(frame: bytes) -> tuple[int, int] | None:
    """Walk over the segments to the frame header."""
    at = 2
    while True:
        marker, length = struct.unpack_from(">2H", frame, at)
        if marker in STARTS:
            height, width = struct.unpack_from(">2H", frame, at + 5)
            return height, width
        if marker == SCAN or marker < 0xFF00 or length < 2:
            return None
        at += 2 + length
