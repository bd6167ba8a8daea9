"""What the files of a task have not in common, told where it can weaken a result."""

from collections import Counter
from collections.abc import Mapping

from ..task import Variant

ALIKE = 1.1
"""Proportions up to this far apart leave nearly the same black beside the image."""


def split_differences(facts: Mapping[tuple[str, str], int], variant: Variant, side: int) -> tuple[str, ...]:
    """Say in a clause each which images differ in size, proportions, color or window.

    Args:
        facts: how often each fact about the reading holds, as ("pixels", "512 x 400"), ("color", "RGB") and
            ("window", "percentiles").
        variant: of the card.
        side: in pixels, of the squares that the images are fitted into.
    """
    held: dict[str, Counter[str]] = {}
    for (key, value), count in facts.items():
        held.setdefault(key, Counter())[value] += count
    found = (
        _sizes(held.get("pixels", Counter()), side),
        _colors(held.get("color", Counter()), variant),
        _windows(held.get("window", Counter())),
    )
    return tuple(clause for clauses in found for clause in clauses)


def _sizes(held: Counter[str], side: int) -> list[str]:
    sizes = [tuple(map(int, size.split(" x "))) for size in held]
    found = []
    if len(sizes) > 1:
        shapes = [wide / tall for wide, tall in sizes]
        bars = max(shapes) > ALIKE * min(shapes)
        beside = f" and proportions from {min(shapes):.2f} to {max(shapes):.2f}" if bars else ""
        betrays = "sharpness and black margins" if bars else "sharpness"
        found.append(
            f"images are of {len(sizes):,} sizes{beside}: {betrays} may betray where one comes from, which "
            "`audit leakage` tries"
        )
    small = sum(count for size, count in zip(sizes, held.values(), strict=True) if max(size) < side)
    if small:
        found.append(f"{small:,} images are smaller than {side} pixels and are enlarged: it adds no detail")
    return found


def _colors(held: Counter[str], variant: Variant) -> list[str]:
    odd = held["RGB"] if variant == "gray" else held["gray"]
    if not odd:
        return []
    of = f"{odd:,} of {held.total():,} images are"
    if variant == "gray":
        return [f"{of} in color and become gray, since the card says gray"]
    cure = "which alone may betray what they show" if held["RGB"] else 'where variant = "gray" would do'
    return [f"{of} gray in a task of color, {cure}"]


def _windows(held: Counter[str]) -> list[str]:
    """Values that one window made gray cannot be compared with those of another way to choose one."""
    ways = {way.partition(":")[0] for way in held}
    if len(ways) < 2:
        return []
    return [f"their windows come from {' and '.join(sorted(ways))}: set reader.window to see all alike"]
