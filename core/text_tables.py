"""Tables of text."""

from collections.abc import Iterable, Sequence

import tabulate as library

from .errors import one_line


def format_table(
    body: Sequence[Sequence[str]], headers: Sequence[str], align: str, style: str = "simple"
) -> str:
    """Return a table of text; `align` has an l or r for each column, `style` is one of `tabulate`."""
    words = {"l": "left", "r": "right"}
    return tabulate(body, headers, style, colalign=[words[a] for a in align])


def tabulate(
    body: Iterable[Iterable[object]],
    headers: Iterable[str] = (),
    tablefmt: str = "simple",
    colalign: Sequence[str] | None = None,
) -> str:
    """Return a table in a style of `tabulate`, with every text cleaned and on one line.

    By default, columns of whole numbers are aligned right.
    """
    flat = [[one_line(cell) if isinstance(cell, str) else cell for cell in row] for row in body]
    names = [*map(one_line, headers)]
    align = colalign or ["right" if isinstance(cell, int) else "left" for cell in (flat[:1] or [[]])[0]]
    return library.tabulate(flat, names, tablefmt, colalign=align or None, disable_numparse=True)


def format_count(value: int | None) -> str:
    """Format a count with thousands separators; "" for None."""
    return "" if value is None else f"{value:,}"
