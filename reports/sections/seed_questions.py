"""The four questions of the essay that proposes a Medical ImageNet, as far as this run can answer them.

Source: "A Medical ImageNet", arXiv 2110.06512.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

from ...benchmark.schema.records import Record
from ..analysis.aggregate import OverallDifference, overall_differences
from ..analysis.labels_saved import LabelSaving, label_savings
from ..analysis.results import BASELINE, Results
from ..analysis.verdicts import BETTER, WORSE, Verdict, compute_verdicts
from ..answers.labels import saving_sentence
from ..answers.main_answer import evidence_of
from ..elements.format import (
    GENERATED,
    NBSP,
    count_noun,
    format_duration,
    format_number,
    format_percent,
    join_words,
    place_label,
    primary_title,
)
from ..elements.section import SECTIONS, SectionContent, SectionPart
from ..elements.verdict_format import range_with_noun, tally_text, verdicts_between

MEDICAL, GENERAL = "mednet", "imagenet"
ASKED = 3_000_000
"""Images that the essay wants."""


@SECTIONS.register("essay")
def seed_questions(results: Results) -> SectionContent | None:
    """Answer each question in a sentence or two; None where no medical weights were tried."""
    if not any(row.init == MEDICAL for row in results.rows):
        return None
    lead = (
        "An essay (arXiv 2110.06512) proposes a Medical ImageNet and leaves four questions open. This is "
        "what this run says to them, and what it cannot say.",
    )
    answers = (
        ("Is such a data set feasible?", feasibility_answer(results)),
        ("Is fine-tuning from ImageNet, as the need arises, better?", better_answer(results)),
        ("Is it even needed?", needed_answer(results)),
        ("Where are the limits?", limits_answer(results)),
    )
    parts = [SectionPart(title=question, lead=(sentence,)) for question, sentence in answers]
    unsaid = SectionPart(title="What this run cannot show", points=cannot_answer(results))
    return SectionContent("The Medical ImageNet questions", 15, (SectionPart(lead=lead), *parts, unsaid))


def feasibility_answer(results: Results) -> str:
    """Say what the MedNets of this run were made of."""
    made = _pretrained(results)
    if not made:
        return (
            f"This run made no {MEDICAL} of its own: its weights came from elsewhere, so that it says "
            "nothing about what it takes to make them."
        )
    images = [r.counts.train for r in made if r.counts]
    sources = sorted({name for r in made for name in _sources(r)})
    seconds = sum(r.seconds for r in made)
    each = f"{range_with_noun(images, 'image')} each" if images else "an unknown number of images each"
    times = ASKED / max(images, default=ASKED)
    return (
        f"Only in small: {count_noun(len(made), 'MedNet')} made here, on {each}, from "
        f"{count_noun(len(sources), 'source')} ({join_words(sources)}), in {format_duration(seconds)} "
        "together. The essay "
        f"asks for {ASKED:,} images, {times:,.0f} times as many as the largest of these saw."
    )


def better_answer(results: Results) -> str:
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
    return f"{MEDICAL} minus {GENERAL} over tasks: {means}. {_counted(pair, MEDICAL)}{warning}"


def needed_answer(results: Results) -> str:
    """Say how many labels MedNet saves, and whether any pretraining beats none."""
    told = [each for each in label_savings(results) if each.saved and each.init.init == MEDICAL]
    told = [each for each in told if not results.generated(each.init.task)] or told  # as `_pair` does
    groups: dict[tuple[str, str, str], list[LabelSaving]] = defaultdict(list)
    for each in told:
        row = each.init
        where = place_label(row.arch, row.size, row.input_size)
        groups[row.protocol, each.reference.init, where].append(each)
    many = len({where for _, _, where in groups}) > 1
    parts = [
        f"Against {reference} with all its labels ({protocol}{f', {where}' if many else ''}), "
        f"{saving_sentence(of)}."
        for (protocol, reference, where), of in groups.items()
    ]
    plain, warning = _pair(results, BASELINE)
    gain = f"{_counted(plain, MEDICAL)}{warning}" if plain else ""
    if not parts:
        return f"The labels that it saves cannot be measured here; Labels saved says why. {gain}".strip()
    return f"{' '.join(parts)} {gain}".strip()


def _pair(results: Results, other: str) -> tuple[list[Verdict], str]:
    """Return the verdicts on MedNet against another init: on real tasks, where there are any."""
    return evidence_of(
        results, [v for v in compute_verdicts(results) if {v.a.init, v.b.init} == {MEDICAL, other}]
    )


def limits_answer(results: Results) -> str:
    """Name the tasks on which no pretraining was better than none, and those where MedNet did harm."""
    plain = [v for v in compute_verdicts(results) if BASELINE in (v.a.init, v.b.init)]
    plain = [v for v in plain if not v.a.derived_from and not v.b.derived_from]
    real = [verdict for verdict in plain if not verdict.generated]
    plain = real or plain
    judged = list(dict.fromkeys(v.a.task for v in plain if not math.isnan(v.p[1])))
    if not judged:
        return f"Nothing could be judged against {BASELINE}: the section of the verdicts says why."
    wins: dict[str, set[str]] = defaultdict(set)
    for verdict in plain:
        wins[_of(verdict, verdict.b.init == BASELINE)].add(verdict.a.task)
    helped, harmed = wins[BETTER], wins[WORSE]
    none = [task for task in judged if task not in helped]
    losses = [task for task in judged if task in harmed]
    of = f"of {count_noun(len(judged), 'task')}"
    first = f"no pretraining was better than {BASELINE}, with any number of labels, on {len(none)} {of}"
    second = f"some was worse on {len(losses)} {of}"
    first, second = (
        text + (f" ({join_words(tasks)})" if tasks else "")
        for text, tasks in ((first, none), (second, losses))
    )
    made = f" These images are {GENERATED}." if not real else ""
    return (
        f"Where it did not help: {first}; {second}.{made} That none was shown better does not mean that none "
        "helps: Verdicts says what could have been detected."
    )


def cannot_answer(results: Results) -> tuple[str, ...]:
    """Say what follows from none of this."""
    rows = [row for row in results.rows if row.init == MEDICAL]
    tasks = {row.task for row in rows}
    images = [r.counts.train for r in _pretrained(results) if r.counts]
    sides = join_words([f"{side}{NBSP}px" for side in sorted({row.input_size for row in rows})])
    points = [
        f"What {ASKED:,} medical images give: the largest MedNet here saw {max(images):,}." if images else "",
        f"What holds at clinical resolution: the networks saw images of {sides}.",
        f"What holds for other tasks than these {len(tasks)}, or other networks than "
        f"{join_words(sorted({row.arch for row in rows}))}.",
        "What another pretraining would have given: each MedNet was made once." if images else "",
        "Whether such data may be collected and shared: that is a question of law and consent.",
    ]
    if any(map(results.generated, tasks)):
        points.insert(0, f"Anything about real patients, from the tasks that are {GENERATED}.")
    return tuple(filter(None, points))


def _pretrained(results: Results) -> list[Record]:
    return [record for record in results.step("pretrain") if record.cell.init == MEDICAL]


def _sources(made: Record) -> list[str]:
    return [name.rpartition(": ")[2] for name in made.metrics]


def _mean(results: Results, each: OverallDifference, named: bool) -> str:
    sign = 1 if each.a == MEDICAL else -1
    mean, setting = each.mean, each.setting
    ends = sorted((sign * mean.low, sign * mean.high))
    interval = (
        f"95 % interval {format_number(ends[0], '+.3f')} to {format_number(ends[1], '+.3f')}"
        if not math.isnan(mean.low)
        else "too few for an interval"
    )
    made = f", {GENERATED}" if setting.generated else ""
    network = f", {place_label(setting.arch, setting.size, setting.input_size)}" if named else ""
    where = f"{setting.protocol}{network} with {format_percent(setting.fraction)} of the labels{made}"
    n = count_noun(mean.units, "independent task")
    title = primary_title(results)
    return f"{format_number(sign * mean.difference, '+.3f')} {title} ({where}; {interval}; {n})"


def _counted(verdicts: Sequence[Verdict], ours: str) -> str:
    """Count what the verdicts say of `ours`."""
    other = next((v.b.init if v.a.init == ours else v.a.init for v in verdicts), "")
    return (
        f"{ours} against {other}: {tally_text(verdicts_between(verdicts, ours, other))}." if verdicts else ""
    )


def _of(verdict: Verdict, first: bool) -> str:
    """Return the verdict as `a` sees it, or turned round as `b` does."""
    turned = {BETTER: WORSE, WORSE: BETTER}
    return verdict.verdict if first else turned.get(verdict.verdict, verdict.verdict)
