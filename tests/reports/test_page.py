"""What the page says before any script runs: answers first, and rows that name their records."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from synthetic import Grid, write_run

from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.report_input import ReportInput
from mednet_bench.reports.analysis.verdicts import EQUIVALENT
from mednet_bench.reports.answers import ANSWER_ORDER
from mednet_bench.reports.elements.section import (
    SECTIONS,
    Datum,
    Figure,
    ReportAnswer,
    SectionContent,
    SectionPart,
    Table,
    TableColumn,
)
from mednet_bench.reports.elements.verdict_bars import draw_verdict_bars
from mednet_bench.reports.pages.build import BuiltReport, build_report
from mednet_bench.reports.pages.facets import FacetMarks, FilterFacet, row_facts
from mednet_bench.reports.pages.overview import build_page, collect_answers
from mednet_bench.reports.sections import SECTION_ORDER
from mednet_bench.reports.statistics.verdict_terms import VERDICTS

MODALITIES = {"breastmnist": "ultrasound", "retinamnist": "fundus"}
PLACES = ["verdicts", "provenance", "another", "unlisted"]
FACETS = (
    FilterFacet("task", "Task", (("breastmnist", "breastmnist"), ("retinamnist", "retinamnist"))),
    FilterFacet("modality", "Modality", (("ultrasound", "ultrasound"), ("fundus", "fundus"))),
    FilterFacet("fraction", "Labels", (("0.1", "10 %"), ("1", "100 %"))),
    FilterFacet("init", "Init", (("mednet", "mednet"), ("imagenet", "imagenet"), ("scratch", "scratch"))),
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltReport:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, Grid(tasks=("breastmnist", "retinamnist"), fractions=(0.1, 0.25, 1.0)))
    return build_report([folder])


@pytest.mark.parametrize(
    "sentence",
    [
        "Undecided: neither was shown, or a flag excludes the verdict (or the claim of equivalence)",
        "in 10 bins with equally many decisions, sorted by confidence",
        "ECE, from 15 bins of equal width",
        "without a GPU, of the process since its start, earlier cells included",
        "It is dotted unless its whole 95 % interval is on one side of the reference's own number",
        "That no difference was shown does not prove that there is none.",
        "This is what this run says about them, and what it cannot say.",
        "Number of averages with each warning.",
    ],
)
def test_limits_of_the_numbers_are_stated_as_they_are(built: BuiltReport, sentence: str):
    assert sentence in built.markdown.read_text().replace("\N{NO-BREAK SPACE}", " ")


def marks(columns: tuple[TableColumn, ...], row: tuple, **facts: str | float) -> set[str]:
    table = Table("", columns, (row,), facts=facts)
    return set(FacetMarks(FACETS, MODALITIES).of(row_facts(table, row)).split())


def test_a_row_carries_its_facets_and_the_modality_of_its_task():
    columns = (
        TableColumn("Task", facet="task"),
        TableColumn("Init", facet="init"),
        TableColumn("AUC", ".3f"),
    )
    row = (Datum("retinamnist", note="x"), "scratch", 0.7)
    assert marks(columns, row, fraction=1.0) == {"task-1", "modality-1", "init-2", "fraction-1"}


def test_a_row_about_two_inits_answers_to_both():
    columns = (TableColumn("Pair", facet="init"),)
    assert marks(columns, (Datum("a", "mednet against scratch", stands_for=("mednet", "scratch")),)) == {
        "init-0",
        "init-2",
    }


def test_what_nobody_can_filter_by_leaves_a_row_in_every_view():
    columns = (TableColumn("Task", facet="task"), TableColumn("Init", facet="init"))
    assert marks(columns, ("gray:breastmnist", None), protocol="finetune") == set()


def test_the_answers_are_above_the_evidence_and_link_to_it(built: BuiltReport):
    content = built.html.read_text()
    drawers = re.findall(r'<details class="answer">.*?</details>', content, flags=re.S)
    assert len(drawers) >= 2 and content.index('class="answer"') < content.index('<section id="leaderboard"')
    for drawer in drawers:
        link = re.search(r'<a href="#([\w-]+)"', drawer)
        assert link and f'<section id="{link[1]}"' in content
    questions = re.findall(r'class="answer"><summary>(.*?)</summary>', content, flags=re.S)
    markdown = built.markdown.read_text()
    places = [markdown.index(f"## {question}") for question in questions]
    assert places == sorted(places) and places[-1] < markdown.index("## Leaderboard")


def figures(results: ReportInput) -> Iterator[Figure]:
    whole = build_page(results)
    blocks = [block for _, content in whole.sections for part in content.parts for block in part.blocks]
    yield from (block for block in blocks if isinstance(block, Figure))
    yield from (answer.figure for answer in whole.answers if answer.figure)


def test_no_title_or_label_of_a_picture_is_cut_off_above_or_below(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("retinamnist", "phantom-cells"), protocols=("linear", "finetune")))
    drawn = list(figures(load_report_input([tmp_path])))
    (calibration, _) = [figure for figure in drawn if figure.name.startswith("reliability")]
    for panel in calibration.panels:
        assert f">{panel.facts['task']}</text>" in panel.svg
    assert any("not evidence about real images</text>" in panel.svg for panel in calibration.panels)
    for figure in drawn:
        for panel in figure.panels:
            points = panel.height * 72 / 96
            for style, y in re.findall(r'<text style="([^"]*)"[^>]* y="([\d.-]+)"[^>]*>', panel.svg):
                size = re.search(r"([\d.]+)px", style)
                assert size and 0.7 * float(size[1]) <= float(y) <= points, figure.name  # letters fill 0.7


def test_the_pictures_of_the_answers_are_small_whatever_the_verdicts(built: BuiltReport):
    every = dict.fromkeys(VERDICTS, 3)
    few = {**every, EQUIVALENT: 0}
    for counts in (every, few):
        figure = draw_verdict_bars("answer-x", "Verdicts.", {"one": counts, "two": few})
        panels = [*figure.panels, *(swatch for swatch, _ in figure.keys)]
        assert sum(len(panel.svg) for panel in panels) < 20_000
    answered = [answer.figure for answer in build_page(built.results).answers if answer.figure]
    keys = [swatch for figure in answered for swatch, _ in figure.keys]
    assert keys and max(len(swatch.svg) for swatch in keys) < 5_000


def test_answers_are_ordered_and_point_at_a_section_that_is_there():
    late, early = ReportAnswer("Late?", "Yes.", see="gone"), ReportAnswer("Zero?", "No.", "main", see="b")
    sections = [
        ("a", SectionContent("A", (SectionPart(),), (late, early))),
        ("b", SectionContent("B", (SectionPart(),))),
    ]
    assert [(answer.question, answer.see) for answer in collect_answers(sections)] == [
        ("Zero?", "b"),
        ("Late?", "a"),
    ]


def test_the_lists_of_sections_and_answers_hold_what_is_built_in(built: BuiltReport):
    assert len(set(SECTION_ORDER)) == len(SECTION_ORDER)
    assert set(SECTION_ORDER) == {name for name in SECTIONS if not SECTIONS.is_foreign(name)}
    page = build_page(built.results)
    shown = [name for name, _ in page.sections]
    assert len(shown) > 9 and shown == [name for name in SECTION_ORDER if name in shown]
    names = [answer.name for answer in page.answers]
    assert names == [name for name in ANSWER_ORDER if name in names]
    others = {"pretraining-images", "subgroups", "transfusion"}
    assert set(ANSWER_ORDER) - set(names) == others, "they need other runs than this"


def test_a_section_that_is_not_listed_follows_by_name(built: BuiltReport):
    with SECTIONS.aside() as added:
        for name in ("verdicts", "unlisted", "another", "provenance"):
            SECTIONS.add(name, lambda results: SectionContent("A title", (SectionPart(),)))
        assert [name for name, _ in build_page(built.results).sections] == sorted(added, key=PLACES.index)


@pytest.mark.parametrize("arguments", [{"order": 200}, {"parts": 200, "answers": (SectionPart(),)}])
def test_a_plug_in_that_gives_its_section_a_number_reads_why_it_failed(
    built: BuiltReport, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, object]
):
    with SECTIONS.aside():
        SECTIONS.add("old", lambda results: SectionContent(**{"title": "Old", "parts": ()} | arguments))
        monkeypatch.setattr(SECTIONS, "is_foreign", lambda name: True)
        ((_, content),) = build_page(built.results).sections
    (sentence,) = content.parts[0].lead
    assert "The plug-in that makes this section failed (TypeError" in sentence
    assert "'order'" in sentence or "drop a number that gives the place" in sentence
