"""Correction of p-values for the number of tests."""

from collections.abc import Sequence


def adjust_by_holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values after Holm's step-down correction (Holm 1979), in the same order."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def adjust_by_bh(p_values: Sequence[float]) -> list[float]:
    """Return the p-values after the step-up correction of Benjamini and Hochberg, in the same order.

    Calling those below 0.05 keeps the expected share of false calls among the calls at 5 %, and the chance of
    any call at 5 % where there is nothing to find.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place], reverse=True)
    corrected, lowest, count = [0.0] * len(p_values), 1.0, len(p_values)
    for rank, place in enumerate(order):
        lowest = min(lowest, count / (count - rank) * p_values[place])
        corrected[place] = lowest
    return corrected
