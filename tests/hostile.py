"""Text that steers a terminal, breaks a document or feigns a line, and what must not be left of it."""

import re

CONTROL = "\x1b[31mred\x1b]0;title\x07\x08\x7f\x9b2J\u202egnp\u2066\u061c\u2028two\x85three"
"""CSI, OSC, BEL, backspace, DEL, C1 and every kind of mark of direction, without a newline."""
LINE = "\nmednet-bench: all is well"
"""A line of its own."""
FORBIDDEN = re.compile(
    r"[^\t\n\x20-\x7e\xa0-\U0010ffff]|[\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]"
)


def left(text: str, lines: bool = True) -> list[str]:
    """Return what a text holds that must never leave, with what stands around it.

    Args:
        text: that was printed or written.
        lines: its lines mean something, unlike those of HTML.
    """
    found = [text[max(0, m.start() - 30) : m.end() + 10] for m in FORBIDDEN.finditer(text)]
    return found + [line for line in text.split("\n") if lines and line.startswith(LINE.strip())]
