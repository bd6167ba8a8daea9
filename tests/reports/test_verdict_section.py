"""The section of verdicts shows the verdicts in color, on gray paper, and to the color-blind."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import Grid, write_run

from mednet_bench.benchmark.schema.plan import TrainingConfig
from mednet_bench.reports.analysis.flags import LEAKS, DoubtFlag
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.report_input import ReportInput
from mednet_bench.reports.analysis.verdicts import BETTER, UNDECIDED, WORSE, compute_verdicts
from mednet_bench.reports.answers.by_modality import by_modality_answer
from mednet_bench.reports.answers.main_answer import main_answer, n_of, pair_sentence
from mednet_bench.reports.elements.forest import FOREST_ROWS, draw_forests, rows_to_draw
from mednet_bench.reports.elements.format import GENERATED, format_percent
from mednet_bench.reports.elements.section import Datum, ReportAnswer, SectionContent, Table
from mednet_bench.reports.elements.verdict_format import (
    count_verdicts,
    difference_range,
    leaky_text,
    range_with_noun,
    verdicts_between,
)
from mednet_bench.reports.elements.verdict_style import LOOKS
from mednet_bench.reports.pages.overview import build_page
from mednet_bench.reports.sections.verdict_section import verdict_section
from mednet_bench.reports.statistics.verdict_terms import VERDICTS

REAL_TASKS = ("breastmnist", "pneumoniamnist", "retinamnist")


def run(folder: Path, **changes: object) -> ReportInput:
    write_run(folder, Grid(**changes))  # type: ignore[arg-type]
    return load_report_input([folder])


def section_of(results: ReportInput) -> SectionContent:
    content = verdict_section(results)
    assert content is not None
    return content


def answer_of(results: ReportInput, start: str) -> ReportAnswer:
    (found,) = [answer for answer in section_of(results).answers if answer.question.startswith(start)]
    return found


def tables(content: SectionContent) -> list[Table]:
    return [block for part in content.parts for block in part.blocks if isinstance(block, Table)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> ReportInput:
    tasks = (*REAL_TASKS, "phantom-thorax")
    return run(
        tmp_path_factory.mktemp("run"), tasks=tasks, protocols=("finetune", "linear"), seeds=(0, 1, 2, 3)
    )


def test_every_comparison_has_a_row_with_its_n_and_its_records(results: ReportInput):
    found = [table for table in tables(section_of(results)) if table.keys]
    assert [table.facts["protocol"] for table in found] == ["finetune", "linear"]
    verdicts = compute_verdicts(results)
    assert sum(len(table.rows) for table in found) == len(verdicts) == 2 * 4 * 3 * 3
    keys = [keys for table in found for keys in table.keys]
    lines = [row for table in found for row in table.rows]
    for verdict, row, behind in zip(verdicts, lines, keys, strict=True):
        entries = dict(zip([column.title for column in found[0].columns], row, strict=True))
        assert set(behind) == {*verdict.a.keys, *verdict.b.keys}
        assert (entries["Seeds"], entries["Test images"]) == (4, 300)
        pair = entries["Pair"]
        assert isinstance(pair, Datum) and pair.stands_for == (verdict.a.init, verdict.b.init)
        shown = entries["Verdict"]
        assert isinstance(shown, Datum) and shown.text == f"{LOOKS[verdict.verdict].glyph} {verdict.verdict}"
        flags = entries["Flags"]
        assert all(flag.name in str(flags) for flag in verdict.flags)


def test_the_counts_add_up_and_keep_generated_tasks_apart(results: ReportInput):
    points = section_of(results).parts[0].points
    assert len(points) == 6
    for point in points:
        made = GENERATED in point
        pair = point.partition(GENERATED if made else ":")[0].rstrip(" (").split(" against ")
        chosen = [
            v for v in compute_verdicts(results) if v.generated == made and [v.a.init, v.b.init] == pair
        ]
        counts = ", ".join(f"{name} {n}" for name, n in count_verdicts(chosen).items())
        assert f": {counts} of {len(chosen)}." in point


def test_a_pair_turned_round_says_the_opposite(results: ReportInput):
    for verdict in compute_verdicts(results):
        turned = verdict.seen_from(verdict.b.init)
        assert (turned.a, turned.b) == (verdict.b, verdict.a)
        assert turned.difference == -verdict.difference
        assert turned.interval == tuple(-end for end in reversed(verdict.interval))
        assert {verdict.verdict, turned.verdict} in ({BETTER, WORSE}, {UNDECIDED}, {"equivalent"})
        assert turned.seen_from(verdict.a.init).verdict == verdict.verdict
    with pytest.raises(ValueError, match="not compared here"):
        compute_verdicts(results)[0].seen_from("radimagenet")


def test_looks_differ_by_shape_fill_hatch_and_letter_and_are_seen_on_both_themes():
    assert tuple(LOOKS) == VERDICTS
    for of in (lambda look: look.marker, lambda look: look.glyph, lambda look: (look.filled, look.hatch)):
        assert len({of(look) for look in LOOKS.values()}) == len(LOOKS)
    for paper, look in itertools.product(("#ffffff", "#f6f6f3", "#181b1f"), LOOKS.values()):
        bright, dark = sorted((luminance(linear(paper)), luminance(linear(look.color))), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 3


@pytest.mark.parametrize("kind", ["protanopia", "deuteranopia"])
def test_colors_differ_without_one_kind_of_cone(kind: str):
    """Vienot, Brettel & Mollon 1999, in the LMS space of Smith and Pokorny; distances in CIELAB."""
    lms = np.array([[0.3140, 0.6395, 0.0465], [0.1554, 0.7579, 0.0867], [0.0178, 0.1094, 0.8726]])
    lost = {
        "protanopia": [[0, 1.0512, -0.0512], [0, 1, 0], [0, 0, 1]],
        "deuteranopia": [[1, 0, 0], [0.9513, 0, 0.0487], [0, 0, 1]],
    }[kind]
    seen = [
        lab(np.clip(np.linalg.inv(lms) @ np.array(lost) @ lms @ linear(look.color), 0, 1))
        for look in LOOKS.values()
    ]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 15


def linear(color: str) -> np.ndarray:
    value = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def luminance(rgb: np.ndarray) -> float:
    return float(rgb @ [0.2126, 0.7152, 0.0722])


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]) @ rgb
    scaled = xyz / np.array([0.9505, 1, 1.0888])
    f = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_the_forest_tells_every_number_and_marks_the_phantoms(results: ReportInput):
    verdicts = compute_verdicts(results)
    figures = draw_forests(results, verdicts)
    assert list(figures) == ["finetune", "linear"]
    panels = [panel for held in figures.values() for figure in held for panel in figure.panels]
    assert len(panels) == 6
    assert sum(panel.alt.count(" to ") for panel in panels) == len(verdicts)
    for panel in panels:
        assert f"phantom-thorax ({GENERATED})" in panel.alt
        assert GENERATED in panel.svg and "300 test images, 4 seeds" in panel.svg
        init_a, init_b = panel.facts["init"]  # type: ignore[misc]
        mine = [
            v
            for v in verdicts
            if (v.a.init, v.b.init, v.a.protocol) == (init_a, init_b, panel.facts["protocol"])
        ]
        for verdict in mine:
            assert (
                f"at {format_percent(verdict.a.fraction)} {verdict.difference:+.3f}".replace("-", "\u2212")
                in panel.alt
            )
        words = {v.verdict for v in mine}
        assert all(f">{word}<" in panel.svg for word in words)  # a word beside every row, whatever the color


def test_a_forest_of_long_names_shows_both_in_full(tmp_path: Path):
    names = ("zoo/radiologynet-resnet18", "zoo/gastronet-5m-dino-continued")
    write_run(tmp_path, Grid(tasks=("breastmnist",), inits=names, fractions=(1.0,)))
    results = load_report_input([tmp_path])
    ((figure,),) = draw_forests(results, compute_verdicts(results)).values()
    (panel,) = figure.panels
    assert f">{names[0]}<" in panel.svg and f">against {names[1]}<" in panel.svg
    assert "second better" in panel.svg and "first better" in panel.svg


def test_a_forest_of_too_many_rows_keeps_the_largest_fractions_and_says_so(results: ReportInput):
    few = [v for v in compute_verdicts(results) if v.a.protocol == "linear"]
    many = [
        replace(v, a=replace(v.a, task=f"{v.a.task}{copy}"), b=replace(v.b, task=f"{v.a.task}{copy}"))
        for copy in range(FOREST_ROWS * 2 // len(few))
        for v in few
    ]
    kept = rows_to_draw(many)
    assert len(kept) <= FOREST_ROWS < len(many)
    assert min(v.a.fraction for v in kept) > min(v.a.fraction for v in many)
    (figure,) = draw_forests(results, many)["linear"]
    assert f"{len(kept):,} of {len(many):,} comparisons are drawn" in figure.caption
    assert len(figure.panels) > 3


def test_whether_it_helps_is_answered_from_real_tasks_with_counts_and_n(results: ReportInput):
    answer = answer_of(results, "Does medical")
    assert answer.sentence.startswith("Generated tasks are left out.")
    real = [v for v in compute_verdicts(results) if not v.generated]
    for other in ("imagenet", "scratch"):
        pair = verdicts_between(real, "mednet", other)
        assert pair_sentence("mednet", other, pair) in answer.sentence
        assert f"of {len(pair)} comparisons" in pair_sentence("mednet", other, pair)
    assert "3 tasks, 2 protocols, 3 label fractions, 4 seeds, 300 test images" in answer.sentence


@pytest.mark.parametrize(
    ("said", "gist"),
    [
        (["better", "better"], "mednet is better than scratch in 2 of 2 comparisons ("),
        (["worse", "worse"], "mednet is worse than scratch in 2 of 2 comparisons ("),
        (["equivalent", "equivalent"], "mednet is equivalent to scratch in 2 of 2 comparisons ("),
        ([UNDECIDED, UNDECIDED], "Undecided: mednet against scratch in 2 of 2 comparisons ("),
        (["better", UNDECIDED], "mednet is better than scratch in 1 of 2 comparisons (1 undecided; "),
        (["worse", UNDECIDED], "mednet is worse than scratch in 1 of 2 comparisons (1 undecided; "),
        (["equivalent", UNDECIDED], "mednet is equivalent to scratch in 1 of 2 comparisons (1 undecided; "),
        (["equivalent", "worse"], "mednet is equivalent to scratch in 1 and worse in 1 of 2 comparisons ("),
        (["better", "worse"], "mednet is better than scratch in 1 and worse in 1 of 2 comparisons ("),
    ],
)
def test_one_verdict_alone_never_makes_the_headline(results: ReportInput, said: list[str], gist: str):
    pair = verdicts_between([v for v in compute_verdicts(results) if not v.generated], "mednet", "scratch")
    answer = main_answer(results, [replace(v, verdict=word) for v, word in zip(pair, said, strict=False)])
    assert gist in answer.sentence


def test_the_answer_says_how_small_the_medical_weights_are(results: ReportInput):
    sentence = answer_of(results, "Does medical").sentence
    images = range_with_noun(
        (record.counts.train for record in results.step("pretrain") if record.counts), "image"
    )
    assert f"2 pretrainings of mednet here, on {images} each." in sentence


def test_one_pretraining_is_named_as_one(tmp_path: Path):
    sentence = answer_of(run(tmp_path, tasks=("breastmnist",), fractions=(1.0,)), "Does medical").sentence
    assert " mednet was pretrained once here, on " in sentence


def test_networks_and_recipes_are_counted_if_there_are_several(tmp_path: Path):
    several = Grid(tasks=("breastmnist",), archs=("resnet18", "resnet50"), fractions=(1.0,))
    write_run(tmp_path, several)
    sentence = answer_of(load_report_input([tmp_path]), "Does medical").sentence
    assert "2 pretrainings of mednet here" in sentence and ", one for each network and kind" in sentence
    assert "n = 1 task, 2 networks, 1 label fraction" in sentence
    write_run(tmp_path, replace(several, recipe=TrainingConfig(steps=(77, 77))))
    results = load_report_input([tmp_path])
    judged = [v for v in compute_verdicts(results) if not v.barred]
    assert "2 networks, 2 recipes, 1 label" in n_of(results, judged)
    linear = [replace(v, a=replace(v.a, protocol="linear")) for v in judged[:1]]
    assert "recipe" not in n_of(results, linear)


def test_what_may_not_be_judged_enters_neither_range_nor_n(results: ReportInput):
    first, *rest = verdicts_between(
        [v for v in compute_verdicts(results) if not v.generated], "mednet", "scratch"
    )
    assert first.paired is not None
    wild = replace(
        first,
        a=replace(first.a, task="elsewhere"),
        paired=replace(first.paired, difference=0.9),
        flags=(DoubtFlag("contaminated", "has seen the images"),),
    )
    assert (
        difference_range([wild, *rest])
        == difference_range(rest)
        != difference_range([first, *rest, replace(wild, flags=())])
    )
    assert n_of(results, [wild, *rest]) == n_of(results, rest)
    assert difference_range([wild]) == "" and n_of(results, [wild]) == "0 comparisons"
    decided = replace(rest[0], verdict=BETTER)
    still = [replace(verdict, verdict=UNDECIDED) for verdict in (wild, *rest[1:])]
    sentence = pair_sentence("mednet", "scratch", [decided, *still])
    assert f"({len(rest) - 1} undecided; the differences in AUC of all {len(rest)} that may be" in sentence
    assert sentence.endswith("; 1 without a verdict: contaminated).")
    assert "the difference in AUC of the one that may be judged is" in pair_sentence(
        "mednet", "scratch", [wild, decided]
    )
    none = pair_sentence("mednet", "scratch", still)
    start = (
        f"Undecided: mednet against scratch in {len(rest) - 1} of {len(rest)} comparisons (the differences"
    )
    assert none.startswith(start) and "; 1 without a verdict: contaminated)" in none
    reached = by_modality_answer(results, [decided, *still])
    assert reached and f"({len(rest) - 1} undecided; 1 without a verdict: contaminated)" in reached.sentence
    assert "mednet is shown to be better than scratch in 1 of" in reached.sentence
    assert reached.sentence.endswith("Transfer may still work where the verdict is undecided.")
    barred = by_modality_answer(results, [decided, still[0]])
    assert barred and "where the verdict is undecided" not in barred.sentence


@pytest.mark.parametrize("flag", LEAKS)
def test_every_kind_of_leak_is_covered_by_the_sentence_on_leaks(results: ReportInput, flag: str):
    clean, other, *_ = compute_verdicts(results)
    clean, leaky = replace(clean, flags=()), replace(other, flags=(DoubtFlag(flag, "found"),))
    assert leaky_text([clean, leaky]) == (
        " In 1 of 2 comparisons, some test images, near copies of them or their patients are also in train "
        "or val."
    )
    assert leaky_text([clean]) == ""


def test_where_transfer_is_not_shown_is_named_as_that(results: ReportInput):
    pair = verdicts_between([v for v in compute_verdicts(results) if not v.generated], "mednet", "scratch")
    tasks = dict.fromkeys(v.a.task for v in pair)
    found = [replace(v, verdict=BETTER if v.a.task == next(iter(tasks)) else UNDECIDED) for v in pair]
    reached = by_modality_answer(results, found)
    assert reached and "mednet is shown to be better than scratch in 6 of 18 comparisons" in reached.sentence
    assert "; not shown in " in reached.sentence and "never" not in reached.sentence


def test_of_phantoms_alone_the_answer_says_first_that_they_are_no_evidence(tmp_path: Path):
    results = run(tmp_path, tasks=("phantom-thorax",), fractions=(1.0,))
    for question in ("Does medical", "For which"):
        assert answer_of(results, question).sentence.startswith(f"Every task here is {GENERATED}.")
    assert "--tasks available" in answer_of(results, "What should I run next").sentence


def test_an_answer_that_cannot_be_given_says_so(tmp_path: Path):
    alone = run(tmp_path / "alone", tasks=("breastmnist",), inits=("scratch",), fractions=(1.0,))
    assert "only scratch. No two inits can be compared" in answer_of(alone, "Does medical").sentence
    assert "--inits mednet,imagenet,scratch" in answer_of(alone, "What should I run next").sentence
    single = run(tmp_path / "single", tasks=("breastmnist",), seeds=(7,), fractions=(1.0,))
    assert (
        "mednet against scratch: none of 1 comparison can have a verdict (single-seed)."
        in answer_of(single, "Does medical").sentence
    )
    assert "--seeds 0..1,7" in answer_of(single, "What should I run next").sentence
    without = run(
        tmp_path / "without", tasks=("breastmnist",), inits=("imagenet", "scratch"), fractions=(1.0,)
    )
    assert answer_of(without, "Does medical").sentence.startswith(
        "Not tested: this run has no medical weights"
    )
    assert "imagenet against scratch" in answer_of(without, "Does medical").sentence


def test_where_transfer_stops_is_counted_by_modality_kind_and_labels(results: ReportInput):
    (table,) = [t for t in tables(section_of(results)) if t.caption.startswith("Where transfer works")]
    real = [v for v in compute_verdicts(results) if not v.generated]
    for where, kind, pair, *counts, _, _ in table.rows:
        assert isinstance(pair, Datum)
        held = verdicts_between(real, str(pair.value), "scratch")
        if kind == "modality":
            held = [v for v in held if results.tasks[v.a.task].modality == where]
        elif kind == "labels":
            held = [v for v in held if format_percent(v.a.fraction) == where]
        else:
            continue
        assert counts == list(count_verdicts(held).values()) and sum(counts) > 0  # type: ignore[arg-type]
    assert GENERATED not in str(table.rows)


def test_the_page_opens_with_the_verdicts(results: ReportInput):
    whole = build_page(results)
    assert whole.sections[0][0] == "verdicts"
    questions = [answer.question for answer in whole.answers]
    assert questions[0].startswith("Does medical") and questions[1].startswith("For which modalities")


def test_a_long_table_opens_with_the_largest_fraction_and_folds_the_rest(tmp_path: Path):
    long = run(tmp_path, tasks=REAL_TASKS, fractions=(0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0), seeds=(0, 1))
    first, rest = (table for table in tables(section_of(long)) if table.keys)
    assert (len(first.rows), first.folded) == (3 * 3, False)
    assert (len(rest.rows), rest.folded) == (3 * 3 * 6, True)
    assert f"{format_percent(1.0)} of the labels" in first.caption
