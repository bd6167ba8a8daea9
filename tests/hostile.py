"""Text that controls a terminal, breaks a document or fakes a line, and a search for its remains."""

import re

CONTROL = "\x1b[31mred\x1b]0;title\x07\x08\x7f\x9b2J\u202egnp\u2066\u061c\u2028two\x85three"
"""CSI, OSC, BEL, backspace, DEL, C1 and every kind of direction mark, without a newline."""
LINE = "\nmednet-bench: all is well"
"""A line of its own."""
FORBIDDEN = re.compile(
    r"[^\t\n\x20-\x7e\xa0-\U0010ffff]|[\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]"
)


def left(text: str, lines: bool = True) -> list[str]:
    """Return forbidden characters of an output with their surroundings, and faked lines.

    Args:
        text: printed or written output.
        lines: search for faked lines too; lines have no meaning in HTML.
    """
    found = [text[max(0, m.start() - 30) : m.end() + 10] for m in FORBIDDEN.finditer(text)]
    return found + [line for line in text.split("\n") if lines and line.startswith(LINE.strip())]
