"""Effects: pairs of inits that differ in one stated fact of their pretraining, over tasks."""

from collections.abc import Iterable, Sequence

from ..analysis.effects import FactEffect, fact_effects, is_tested
from ..analysis.pretraining_facts import CORPUS, IMAGES, INPUT, OBJECTIVE, START
from ..analysis.report_input import ReportInput
from ..elements.format import (
    GENERATED,
    NBSP,
    compact_column,
    count_noun,
    format_interval,
    format_labels,
    format_number,
    join_words,
    p_value,
    primary_title,
)
from ..elements.section import SECTIONS, Datum, SectionContent, SectionPart, Table, TableColumn, TableRow
from ..elements.verdict_style import LOOKS
from ..statistics.over_tasks import MEAN_UNITS
from ..statistics.verdict_terms import UNDECIDED
from .ranking import SETTING, inits_entry, setting_entries

TITLES = {
    CORPUS: "Other images",
    OBJECTIVE: "Other objective",
    IMAGES: "More images of the same data sets",
    START: "Continued, or not",
    INPUT: "Other input of the same weights",
}


@SECTIONS.register("effects")
def effects_section(results: ReportInput) -> SectionContent | None:
    """Show the effects of each fact with what differs beside it; None if no pair differs in one fact."""
    found = fact_effects(results)
    if not found:
        return None
    parts = [SectionPart(lead=_lead(results, found))]
    for fact, title in TITLES.items():
        if of := [effect for effect in found if effect.difference.fact == fact]:
            parts.append(SectionPart(title, points=tuple(_points(results, of)), blocks=_tables(results, of)))
    return SectionContent("Effects of one fact", tuple(parts))


def _lead(results: ReportInput, found: Sequence[FactEffect]) -> tuple[str, ...]:
    tested = sum(map(is_tested, found))
    noun = count_noun(tested, "effect")
    corrected = (
        f" The p-values of {noun} are corrected together (Benjamini and Hochberg), those on generated images "
        "apart; the interval is not corrected."
        if tested
        else ""
    )
    few = f" Fewer than {MEAN_UNITS} independent tasks have no verdict." if tested < len(found) else ""
    return (
        "Each line compares two inits of one network whose cards state no other difference of the "
        "pretraining than one, and lists what differs with it and what they do not state. "
        f"The difference in {primary_title(results)} is that of "
        f"the first init minus the second: mean over independent tasks and its 95{NBSP}% interval, as in the "
        "section Over all tasks.",
        "Better and worse: Student's t test over the tasks rejects a mean difference of 0. Equivalent: it "
        f"rejects a mean as large as the margin, {results.margin:g}, on both sides. Undecided: neither."
        f"{corrected}{few}",
        "An effect holds for tasks like these and for these two files of weights. Each is one pretraining of "
        "many possible ones, whose variance is in no interval, and what no card states (length, "
        "augmentation, code) may differ as well: an effect is evidence on the fact, and no proof that it is "
        "the cause.",
    )


def _points(results: ReportInput, found: Sequence[FactEffect]) -> Iterable[str]:
    """Yield a sentence for each pair, with its effects at the largest share of the labels."""
    largest = max(effect.setting.fraction for effect in found)
    pairs: dict[tuple[str, str, str], list[FactEffect]] = {}
    for effect in found:
        difference = effect.difference
        pairs.setdefault((difference.a, difference.b, effect.setting.arch), []).append(effect)
    for (a, b, _), effects in pairs.items():
        shown = [effect for effect in effects if effect.setting.fraction == largest]
        sizes = "; ".join(effect_text(results, effect) for effect in shown)
        first = f"{a} minus {b}: {effects[0].difference.question}" + (f": {sizes}" if sizes else "")
        yield ". ".join([first, *_caveats(effects)]) + "."


def effect_text(results: ReportInput, effect: FactEffect) -> str:
    """Write the size of an effect, e.g. "+0.012 AUC (−0.003 to +0.027), 6 tasks, linear: undecided"."""
    mean, where = effect.over.mean, effect.setting
    ends = format_interval(mean.low, mean.high) or f"no interval below {MEAN_UNITS} tasks"
    size = f"{format_number(mean.difference, '+.3f')} {primary_title(results)} ({ends})"
    made = f", {GENERATED}" if where.generated else ""
    return f"{size}, {count_noun(mean.units, 'task')}, {where.protocol}{made}: {effect.verdict}"


def _caveats(effects: Sequence[FactEffect]) -> Iterable[str]:
    """Yield what differs besides, what is not known, licenses, and tasks that are left out."""
    difference = effects[0].difference
    left_out = {task: flag for effect in effects for task, flag in effect.left_out.items()}
    possible = max(effect.flags.get("possibly-contaminated", 0) for effect in effects)
    if difference.besides:
        yield f"Differs with it: {'; '.join(difference.besides)}"
    if difference.unsure:
        yield f"Not certain: {'; '.join(difference.unsure)}"
    if difference.licenses:
        yield f"License of {'; of '.join(difference.licenses)}"
    if possible:
        yield f"Possible contamination on {count_noun(possible, 'task')}"
    if left_out:
        yield f"Left out: {join_words([f'{task} ({flag})' for task, flag in left_out.items()])}"


def _tables(results: ReportInput, found: Sequence[FactEffect]) -> tuple[Table, ...]:
    largest = max(effect.setting.fraction for effect in found)
    parts = [[e for e in found if (e.setting.fraction < largest) == folded] for folded in (False, True)]
    return tuple(_table(results, part, folded=at > 0) for at, part in enumerate(parts) if part)


def _table(results: ReportInput, found: Sequence[FactEffect], folded: bool) -> Table:
    columns = (
        TableColumn("Effect of"),
        TableColumn("Pair", facet="init"),
        *SETTING,
        TableColumn("Difference", "+.3f", "first init minus second, mean over independent tasks"),
        TableColumn("95 % interval", "", "Student's, over independent tasks, not corrected"),
        TableColumn("Verdict"),
        TableColumn("p (BH)", ".3f", "p-value of no difference, corrected over all effects"),
        TableColumn("Tasks", "d", "independent tasks", facet="task"),
        TableColumn("Flags", "", "of the verdicts on the tasks, with their number of tasks"),
    )
    labels = format_labels(found[0].setting.fraction)
    caption = f"Effects {'with fewer labels' if folded else f'with {labels}'}"
    rows = tuple(_row(effect) for effect in found)
    keys = tuple(effect.over.keys for effect in found)
    return compact_column(Table(caption, columns, rows, folded, keys=keys), "Network")


def _row(effect: FactEffect) -> TableRow:
    where, mean, p = effect.setting, effect.over.mean, effect.tests.p[1]
    flags = ", ".join(f"{name} {tasks}" for name, tasks in effect.flags.items())
    return (
        effect.difference.words,
        inits_entry(where, effect.difference.a, effect.difference.b),
        *setting_entries(where),
        mean.difference,
        Datum(mean.low, format_interval(mean.low, mean.high)),
        _verdict(effect.verdict),
        Datum(p, p_value(p)) if is_tested(effect) else Datum(None),
        Datum(mean.units, stands_for=effect.over.tasks),
        flags or None,
    )


def _verdict(name: str) -> Datum:
    return Datum(name, f"{LOOKS[name].glyph} {name}", strong=name != UNDECIDED)
