"""Answer whether medical pretraining helps all subgroups alike."""

from collections.abc import Sequence

from ..analysis.report_input import ReportInput
from ..analysis.subgroups import ALIKE, LESS, MORE, SHOWN, RowGap, SubgroupGain
from ..analysis.verdicts import BETTER, UNDECIDED, WORSE
from ..elements.format import GENERATED, count_noun, format_percent, join_words
from ..elements.section import ReportAnswer
from ..elements.verdict_format import range_with_noun

SUBGROUP_QUESTION = "Does pretraining help everyone alike?"


def subgroups_answer(
    results: ReportInput, found: Sequence[RowGap], compared: Sequence[SubgroupGain]
) -> ReportAnswer:
    """Compare the init in focus with each other init, and count the gaps that are shown.

    `found` has at least one gap; gaps and gains are those with the largest share of the labels.
    """
    found, compared = _focus(results, found, compared)
    gains = " ".join(_gains(members) for members in _pairs(compared).values())
    if not any(each.extra for each in compared):
        gains = "Undecided: no two inits can be compared on two subgroups or more."
    measured = [each for each in found if each.gap]
    shown = [each for each in measured if each.shown == SHOWN]
    where = f" ({join_words([_place(each) for each in shown[:3]])}{', ...' if len(shown) > 3 else ''})"
    of = count_noun(len(measured), "measured gap")
    gap = f"A gap between subgroups is shown in {len(shown)} of {of}{where if shown else ''}."
    rows = [each.row for each in found]
    n = (
        f"n = {count_noun(len({row.task for row in rows}), 'task')} with subgroups, "
        f"{join_words(list(dict.fromkeys(row.protocol for row in rows)))}, "
        f"{format_percent(rows[0].fraction)} of the "
        f"labels, {range_with_noun((len(row.seeds) for row in rows), 'seed')}."
    )
    made = f" These images are {GENERATED}." if results.generated(rows[0].task) else ""
    return ReportAnswer(SUBGROUP_QUESTION, f"{gains} {gap} {n}{made}", "subgroups")


def _focus(
    results: ReportInput, found: Sequence[RowGap], compared: Sequence[SubgroupGain]
) -> tuple[list[RowGap], list[SubgroupGain]]:
    """Keep real images and the pairs of MedNet, if there are any."""
    real = any(not results.generated(each.row.task) for each in found)
    kept = [each for each in found if not (real and results.generated(each.row.task))]
    pairs = [each for each in compared if not (real and results.generated(each.pair.a.task))]
    of_mednet = [each for each in pairs if "mednet" in (each.pair.a.init, each.pair.b.init)]
    return kept, of_mednet or pairs


def _pairs(compared: Sequence[SubgroupGain]) -> dict[tuple[str, str], list[SubgroupGain]]:
    found: dict[tuple[str, str], list[SubgroupGain]] = {}
    for each in compared:
        found.setdefault((each.pair.a.init, each.pair.b.init), []).append(each)
    return found


def _gains(members: Sequence[SubgroupGain]) -> str:
    """Count for one pair the subgroups with more, equal and less gain than the others."""
    ours, theirs = members[0].pair.a.init, members[0].pair.b.init
    of = count_noun(len(members), "subgroup")
    claims = [each.alike for each in members]
    words = {MORE: ("larger", "than"), LESS: ("smaller", "than"), ALIKE: ("as large", "as")}
    shown = {claim: claims.count(claim) for claim in words if claim in claims}
    parts = [f"{words[claim][0]} in {count}" for claim, count in shown.items()]
    left = claims.count(UNDECIDED)
    rest = f" ({left} undecided)" if left else ""
    start = f"Undecided: whether {ours} helps {of} alike compared with {theirs}."
    if shown:
        (claim, count), *_ = shown.items()
        size, than = words[claim]
        parts[0] = f"{size} {than} in the others in {count} of {of}"
        start = f"The gain of {ours} over {theirs} is {join_words(parts)}{rest}."
    verdicts = [each.verdict for each in members]
    better, worse = verdicts.count(BETTER), verdicts.count(WORSE)
    return f"{start} {ours} is better in {better} of them and worse in {worse}."


def _place(each: RowGap) -> str:
    return f"{each.column} in {each.row.task}, {each.row.init}"
