"""Warnings on differences between a task's files that can weaken a result."""

from collections import Counter
from collections.abc import Mapping

from ..task import Variant

ALIKE = 1.1
"""Ratio of proportions up to which the black margins are nearly the same."""


def split_differences(facts: Mapping[tuple[str, str], int], variant: Variant, side: int) -> tuple[str, ...]:
    """Return a clause for each difference in size, proportions, color or window.

    `facts` count each reading fact, as ("pixels", "512 x 400"), ("color", "RGB") and ("window",
    "percentiles"); `side` is that of the letterboxed images in pixels.
    """
    counts: dict[str, Counter[str]] = {"pixels": Counter(), "color": Counter(), "window": Counter()}
    for (key, value), count in facts.items():
        counts.setdefault(key, Counter())[value] += count
    sizes, colors = _sizes(counts["pixels"], side), _colors(counts["color"], variant)
    return (*sizes, *colors, *_windows(counts["window"]))


def _sizes(counts: Counter[str], side: int) -> list[str]:
    sizes = [tuple(map(int, size.split(" x "))) for size in counts]
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
    small = sum(count for size, count in zip(sizes, counts.values(), strict=True) if max(size) < side)
    if small:
        found.append(f"{small:,} images are smaller than {side} pixels and are enlarged: it adds no detail")
    return found


def _colors(counts: Counter[str], variant: Variant) -> list[str]:
    odd = counts["RGB"] if variant == "gray" else counts.total() - counts["RGB"]
    if not odd:
        return []
    of = f"{odd:,} of {counts.total():,} images are"
    if variant == "gray":
        return [f"{of} in color and become gray, since the card says gray"]
    cure = "which alone may betray what they show" if counts["RGB"] else 'where variant = "gray" would do'
    return [f"{of} gray in a task of color, {cure}"]


def _windows(counts: Counter[str]) -> list[str]:
    """Warn of several sources of windows, whose gray levels cannot be compared."""
    ways = {way.partition(":")[0] for way in counts}
    if len(ways) < 2:
        return []
    return [f"their windows come from {' and '.join(sorted(ways))}: set reader.window to see all alike"]
