"""Tables of text, and the numbers in them."""

from collections.abc import Sequence

from tabulate import tabulate


def table(body: Sequence[Sequence[str]], headers: Sequence[str], align: str) -> str:
    """Return a table of text; `align` has an l or r for each column."""
    words = {"l": "left", "r": "right"}
    return tabulate(body, headers, "simple", colalign=[words[a] for a in align], disable_numparse=True)


def number(value: int | None) -> str:
    """Write a count with its thousands apart, or nothing where it is not known."""
    return "" if value is None else f"{value:,}"
