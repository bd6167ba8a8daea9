"""The four open questions of the essay "A Medical ImageNet", with the answers of this run.

The proposed number of images is from another text, the MedNet paper, arXiv 2110.06512.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

from ...benchmark.schema.records import Record
from ..analysis.aggregate import OverallDifference, overall_differences
from ..analysis.labels_saved import LabelSaving, label_savings
from ..analysis.report_input import BASELINE, ReportInput
from ..analysis.verdicts import BETTER, WORSE, Verdict, compute_verdicts
from ..answers.labels import saving_sentence
from ..answers.main_answer import evidence_of
from ..elements.format import (
    GENERATED,
    NBSP,
    count_noun,
    format_duration,
    format_interval,
    format_labels,
    format_number,
    join_words,
    place_label,
    primary_title,
)
from ..elements.section import SECTIONS, SectionContent, SectionPart
from ..elements.verdict_format import range_with_noun, tally_text, verdicts_between

MEDICAL, GENERAL = "mednet", "imagenet"
ASKED = 3_000_000
"""Images for each of Gray-MedNet and Color-MedNet that the paper proposes."""


@SECTIONS.register("essay")
def seed_questions(results: ReportInput) -> SectionContent | None:
    """Answer each question in a sentence or two; None without medical weights."""
    if not any(row.init == MEDICAL for row in results.rows):
        return None
    lead = (
        'The essay "A Medical ImageNet" leaves four questions open. This is what this run says about them, '
        "and what it cannot say.",
    )
    answers = (
        ("Is such a data set feasible?", feasibility_answer(results)),
        ("Is fine-tuning from ImageNet, as the need arises, better?", better_answer(results)),
        ("Is it even needed?", needed_answer(results)),
        ("Where are the limits?", limits_answer(results)),
    )
    parts = [SectionPart(title=question, lead=(sentence,)) for question, sentence in answers]
    limits = SectionPart(title="Not answered by this run", points=cannot_answer(results))
    return SectionContent("The Medical ImageNet questions", (SectionPart(lead=lead), *parts, limits))


def feasibility_answer(results: ReportInput) -> str:
    """Write the images, sources and seconds of the MedNets pretrained here."""
    made = _pretrain_records(results)
    if not made:
        return f"Unknown: this run pretrained no {MEDICAL} of its own."
    images = [r.counts.train for r in made if r.counts]
    sources = sorted({name for r in made for name in _sources(r)})
    seconds = sum(r.seconds for r in made)
    each = f"{range_with_noun(images, 'image')} each" if images else "an unknown number of images each"
    times = ASKED / max(images, default=ASKED)
    return (
        f"Only at a small scale: {count_noun(len(made), 'MedNet')} pretrained here, on {each}, from "
        f"{count_noun(len(sources), 'source')} ({join_words(sources)}), in {format_duration(seconds)} in "
        f"total. MedNet was proposed (arXiv 2110.06512) with {ASKED:,} images, {times:,.0f} times as many "
        "as the largest of these saw."
    )


def better_answer(results: ReportInput) -> str:
    """Compare MedNet with ImageNet over tasks, and count the verdicts."""
    pair, warning = _pair(results, GENERAL)
    over = [each for each in overall_differences(results) if {each.a, each.b} == {MEDICAL, GENERAL}]
    over = [each for each in over if not each.setting.generated] or over  # as `_pair` does
    if not over:
        return f"This run does not compare {MEDICAL} with {GENERAL}."
    largest = max(each.setting.fraction for each in over)
    over = [each for each in over if each.setting.fraction == largest]
    networks = {place_label(s.arch, s.size, s.input_size) for s in (each.setting for each in over)}
    means = "; ".join(_mean(results, each, named=len(networks) > 1) for each in over)
    return f"{MEDICAL} minus {GENERAL} over tasks: {means}. {_tally_sentence(pair, MEDICAL)}{warning}"


def needed_answer(results: ReportInput) -> str:
    """Write how many labels MedNet saves, and its verdicts against scratch."""
    savings = [each for each in label_savings(results) if each.saved and each.init.init == MEDICAL]
    savings = [s for s in savings if not results.generated(s.init.task)] or savings  # as `_pair` does
    groups: dict[tuple[str, str, str], list[LabelSaving]] = defaultdict(list)
    for each in savings:
        row = each.init
        where = place_label(row.arch, row.size, row.input_size)
        groups[row.protocol, each.reference.init, where].append(each)
    many = len({where for _, _, where in groups}) > 1
    parts = [
        f"Compared with {reference} at all its labels ({protocol}{f', {where}' if many else ''}), "
        f"{saving_sentence(of)}."
        for (protocol, reference, where), of in groups.items()
    ]
    plain, warning = _pair(results, BASELINE)
    gain = f"{_tally_sentence(plain, MEDICAL)}{warning}" if plain else ""
    if not parts:
        return f"The labels saved cannot be measured here; the section Labels saved says why. {gain}".strip()
    return f"{' '.join(parts)} {gain}".strip()


def _pair(results: ReportInput, other: str) -> tuple[list[Verdict], str]:
    """Return the verdicts on MedNet against another init, on real tasks if there are any."""
    pair = {MEDICAL, other}
    return evidence_of(results, [v for v in compute_verdicts(results) if {v.a.init, v.b.init} == pair])


def limits_answer(results: ReportInput) -> str:
    """Name the tasks without a better pretraining, and those where one was worse than scratch."""
    plain = [v for v in compute_verdicts(results) if BASELINE in (v.a.init, v.b.init)]
    plain = [v for v in plain if not v.a.derived_from and not v.b.derived_from]
    real = [verdict for verdict in plain if not verdict.generated]
    plain = real or plain
    judged = list(dict.fromkeys(v.a.task for v in plain if not math.isnan(v.p[1])))
    if not judged:
        return f"Undecided: no comparison with {BASELINE} could be tested; the section Verdicts says why."
    wins: dict[str, set[str]] = defaultdict(set)
    for verdict in plain:
        other = verdict.a.init if verdict.b.init == BASELINE else verdict.b.init
        wins[verdict.seen_from(other).verdict].add(verdict.a.task)
    helped, harmed = wins[BETTER], wins[WORSE]
    none = [task for task in judged if task not in helped]
    losses = [task for task in judged if task in harmed]
    of = f"of {count_noun(len(judged), 'task')}"
    first = (
        f"No pretraining was shown to be better than {BASELINE}, at any number of labels, on {len(none)} {of}"
    )
    second = f"at least one was shown to be worse on {len(losses)} {of}"
    first, second = (
        text + (f" ({join_words(tasks)})" if tasks else "")
        for text, tasks in ((first, none), (second, losses))
    )
    made = f" These images are {GENERATED}." if not real else ""
    return (
        f"{first}; {second}.{made} That no pretraining was shown to be better does not mean that none "
        "helps: the section Verdicts has the detectable differences."
    )


def cannot_answer(results: ReportInput) -> tuple[str, ...]:
    """List the questions that this run does not answer."""
    rows = [row for row in results.rows if row.init == MEDICAL]
    tasks = {row.task for row in rows}
    images = [r.counts.train for r in _pretrain_records(results) if r.counts]
    sizes = join_words([f"{size}{NBSP}px" for size in sorted({row.input_size for row in rows})])
    points = [
        f"The effect of {ASKED:,} medical images: the largest MedNet here saw {max(images):,}."
        if images
        else "",
        f"The effect at clinical resolution: the networks saw images of {sizes}.",
        f"The effect on tasks other than these {len(tasks)}, or networks other than "
        f"{join_words(sorted({row.arch for row in rows}))}.",
        "The variance between pretrainings: each MedNet was pretrained once." if images else "",
        "Whether such data may be collected and shared, a question of law and consent.",
    ]
    if any(map(results.generated, tasks)):
        points.insert(0, f"The effect on real patients, for tasks that are {GENERATED}.")
    return tuple(filter(None, points))


def _pretrain_records(results: ReportInput) -> list[Record]:
    return [record for record in results.step("pretrain") if record.cell.init == MEDICAL]


def _sources(made: Record) -> list[str]:
    return [name.rpartition(": ")[2] for name in made.metrics]


def _mean(results: ReportInput, each: OverallDifference, named: bool) -> str:
    sign = 1 if each.a == MEDICAL else -1
    mean, setting = each.mean, each.setting
    ends = format_interval(*sorted((sign * mean.low, sign * mean.high)))
    interval = f"95 % interval {ends}" if ends else "too few for an interval"
    made = f", {GENERATED}" if setting.generated else ""
    network = f", {place_label(setting.arch, setting.size, setting.input_size)}" if named else ""
    where = f"{setting.protocol}{network} with {format_labels(setting.fraction)}{made}"
    n = count_noun(mean.units, "independent task")
    title = primary_title(results)
    return f"{format_number(sign * mean.difference, '+.3f')} {title} ({where}; {interval}; {n})"


def _tally_sentence(verdicts: Sequence[Verdict], ours: str) -> str:
    """Write the counts of the verdicts on `ours`."""
    if not verdicts:
        return ""
    other = verdicts[0].b.init if verdicts[0].a.init == ours else verdicts[0].a.init
    return f"{ours} against {other}: {tally_text(verdicts_between(verdicts, ours, other))}."
