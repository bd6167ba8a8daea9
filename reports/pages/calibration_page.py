"""Calibration of the verdicts as Markdown and CSV: promised and measured error rates."""

import math
from collections.abc import Sequence
from dataclasses import asdict

import tabulate

from ..statistics.calibration import LEAST_COVERAGE, MOST_WRONG, PROMISED_AUC, ErrorRates, calibration_summary
from ..statistics.scenarios import ScenarioRate, scenario_summary
from .csv_table import csv_text


def calibration_markdown(found: Sequence[ErrorRates]) -> str:
    """Write promised and measured error rates, and the coverage of a plain bootstrap."""
    broken = [rate for rate in found if not rate.holds]
    inside = [rate.covered for rate in found if rate.truth.auc <= PROMISED_AUC]
    above = [rate.covered for rate in found if rate.truth.auc > PROMISED_AUC]
    least, most = min(rate.experiments for rate in found), max(rate.experiments for rate in found)
    power = [rate for rate in found if rate.truth.difference == -0.05 and rate.truth.seed_sd <= 0.01]
    lines = [
        f"{len(found)} truths, {least:,} experiments each, {most:,} where a rate came near its limit.",
        "",
        f"- Least coverage of the 95 % interval up to an AUC of {PROMISED_AUC}: {min(inside):.1%} (promised: "
        f"{LEAST_COVERAGE:.0%} everywhere), mean {_mean(inside):.1%}. Above, where none is promised: least "
        f"{min(above):.1%}, mean {_mean(above):.1%}.",
        f'- Most wrong "better" or "worse": {max(r.wrong for r in found):.1%} (promised: at most '
        f"{MOST_WRONG:.0%}).",
        f'- Most wrong "equivalent" at a true difference of the margin or more: '
        f"{max(r.wrong_equivalent for r in found):.1%} (promised: at most {MOST_WRONG:.0%}).",
        "- A true difference of 0.05 is found, where the seeds' sd is 0.01 or less, in "
        + ", ".join(f"{_mean(_power_at(power, images)):.0%} with {images:,}" for images in _images(power))
        + " test images.",
        "",
        f"Truths with a promise broken by more than two standard errors: {len(broken)} of {len(found)}.",
        "",
        tabulate.tabulate(
            calibration_summary(found),
            ["Seeds", "Test images", "Least coverage", "Most wrong better/worse", "Most wrong equivalent"],
            tablefmt="pipe",
            floatfmt=".3f",
            disable_numparse=[0, 1],
        ),
        "",
        "The percentile bootstrap over seeds and images: 2,000 test images, AUC 0.75, no difference.",
        "",
        tabulate.tabulate(
            [
                (rate.truth.seeds, rate.truth.seed_sd, rate.bootstrap, rate.covered)
                for rate in found
                if not math.isnan(rate.bootstrap)
            ],
            ["Seeds", "Seed sd", "Coverage of the bootstrap", "Coverage of ours"],
            tablefmt="pipe",
            floatfmt=("g", "g", ".3f", ".3f"),
        ),
    ]
    return "\n".join(lines) + "\n"


def scenario_markdown(found: Sequence[ScenarioRate]) -> str:
    """Write the worst rate of every family of scenarios, and whether it holds."""
    broken = [rate for rate in found if rate.promised and not rate.holds]
    least, most = min(rate.draws for rate in found), max(rate.draws for rate in found)
    draws = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    lines = [
        f"{draws} experiments, or pages of tasks, per setting; the worst of the settings. Promised limits "
        f"broken by more than two standard errors: {len(broken)}.",
        "",
        tabulate.tabulate(
            [
                (*line[:5], "" if math.isnan(line[5]) else f"{line[5]:g}", line[6])
                for line in scenario_summary(found)
            ],
            ["Family", "Rate", "Settings", "Worst", "Where", "Limit", "Verdict"],
            tablefmt="pipe",
            floatfmt=".3f",
            disable_numparse=[0, 1, 4, 5, 6],
        ),
    ]
    return "\n".join(lines) + "\n"


def scenario_csv(found: Sequence[ScenarioRate]) -> str:
    """Write one line per rate of every scenario."""
    names = [*asdict(found[0]), "status"]
    return csv_text(names, [[getattr(rate, name) for name in names] for rate in found])


def calibration_csv(found: Sequence[ErrorRates]) -> str:
    """Write one line per truth."""
    names = (
        "experiments", "covered", "wrong", "equivalent", "wrong_equivalent", "found", "width", "bootstrap",
    )  # fmt: skip
    lines = [[*asdict(rate.truth).values(), *(getattr(rate, name) for name in names)] for rate in found]
    return csv_text([*asdict(found[0].truth), *names], lines)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _images(power: Sequence[ErrorRates]) -> list[int]:
    return sorted({rate.truth.images for rate in power})


def _power_at(power: Sequence[ErrorRates], images: int) -> list[float]:
    return [rate.found for rate in power if rate.truth.images == images]
