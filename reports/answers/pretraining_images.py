"""Answer how many pretraining images it would take to meet ImageNet, and of what they would consist."""

import math
from collections.abc import Sequence

from ...tasks.databases.plans import CompositionRules, CorpusComposition, compose
from ..analysis.pretraining_size import REFERENCE, SizeCurve, size_curves
from ..analysis.report_input import ReportInput
from ..elements.format import GENERATED, NBSP, count_noun, format_labels, format_number
from ..elements.section import ReportAnswer
from ..statistics.power_law import SEARCHED, SizeNeeded

CANNOT = "cannot be extrapolated"
AT_MOST = f"\u2264{NBSP}"


def pretraining_images_answer(results: ReportInput) -> ReportAnswer | None:
    """Answer from one curve, see `focus_curve`; None without curves."""
    if not (curves := size_curves(results)):
        return None
    curve = focus_curve(curves)
    seeds = count_noun(curve.seeds, "seed")
    made = f" These images are {GENERATED}." if curve.setting.generated else ""
    tasks, sizes = count_noun(len(curve.tasks), "task"), count_noun(len(curve.points), "number")
    sentence = f"{needed_sentence(curve)} n = {tasks}, {sizes} of images, {seeds}.{made}"
    return ReportAnswer("How many pretraining images would it take?", sentence, "pretraining-images")


def focus_curve(curves: Sequence[SizeCurve]) -> SizeCurve:
    """Choose real images before generated ones, the mean over tasks, the most labels, the most sizes."""
    return max(
        curves,
        key=lambda each: (
            not each.setting.generated,
            not each.task,
            each.setting.fraction,
            len(each.tasks),
            len(each.points),
        ),
    )


def curve_name(curve: SizeCurve) -> str:
    """Name the tasks of a curve, e.g. "mean over 3 tasks"."""
    return curve.task or f"mean over {count_noun(curve.units, 'independent task')}"


def needed_sentence(curve: SizeCurve) -> str:
    """Write where a curve meets `REFERENCE`, or why that is not known."""
    where = f"{curve_name(curve)}, {curve.setting.protocol}, {format_labels(curve.setting.fraction)}"
    if curve.problem:
        return f"{curve.family} {CANNOT} ({where}): {curve.problem}."
    if curve.needed is None:
        why = f"there is no {REFERENCE} to meet" if math.isnan(curve.reference) else "it has no known error"
        return (
            f"{curve.family} rises with its images ({where}); where it meets {REFERENCE} is not known: {why}."
        )
    first, most = curve.points[0].images, SEARCHED * curve.points[-1].images
    if math.isinf(curve.needed.low):
        return f"{curve.family} would not meet {REFERENCE} with {most:,.0f} images ({where})."
    if math.isinf(curve.needed.estimate):
        least = round_images(curve.needed.low)
        return (
            f"{curve.family} levels off below {REFERENCE} ({where}); if they meet, then with {least} images "
            "or more."
        )
    if curve.needed.estimate <= first:
        return f"{curve.family} meets {REFERENCE} with {first:,.0f} images or fewer ({where})."
    return (
        f"{curve.family} would meet {REFERENCE} with about {round_images(curve.needed.estimate)} images "
        f"(95 % interval {needed_interval(curve.needed, first)}; {where})."
    )


def round_images(images: float) -> str:
    """Write an estimated number of images with two significant digits."""
    digits = 1 - math.floor(math.log10(images))
    return format_number(round(images, digits), ",.0f")


def needed_images(needed: SizeNeeded, first: float) -> str:
    """Write the estimated number of images, or a bound; `first` is the smallest measured one."""
    if math.isinf(needed.estimate):
        return "not reached"
    return f"{AT_MOST}{first:,.0f}" if needed.estimate <= first else round_images(needed.estimate)


def needed_interval(needed: SizeNeeded, first: float) -> str:
    """Write the interval of the number of images."""
    if math.isinf(needed.low):
        return "not reached"
    low = f"{AT_MOST}{first:,.0f}" if needed.low <= first else round_images(needed.low)
    if math.isinf(needed.high):
        return f"{low} or more"
    high = f"{AT_MOST}{first:,.0f}" if needed.high <= first else round_images(needed.high)
    return " to ".join(dict.fromkeys((low, high)))


def catalogue_plans(results: ReportInput, curve: SizeCurve) -> list[CorpusComposition]:
    """Return the catalog's open corpora of the colors of a curve's tasks."""
    colors = {results.tasks[task].variant for task in curve.tasks if task in results.tasks}
    return [compose(color, CompositionRules()) for color in ("gray", "color") if color in colors]
