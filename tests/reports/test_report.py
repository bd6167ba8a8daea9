"""The page: every warning beside its number, names as text, nothing from outside."""

import csv
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from synthetic import Grid, write_run

from mednet_bench.benchmark.schema.plan import read_plan
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.reports.elements.format import GENERATED
from mednet_bench.reports.elements.section import SECTIONS
from mednet_bench.reports.pages.build import BuiltReport, build_report
from mednet_bench.reports.pages.markdown_page import escape_markdown
from mednet_bench.reports.pages.terminal import leaderboard_text

EVIL = "<img src=x onerror=alert(1)>"
FORMULA = "=cmd()|`a`\n$x$ *b*"
REQUIRED = [
    "task",
    "arch",
    "init",
    "protocol",
    "size",
    "input_size",
    "fraction",
    "n_train",
    "n_seeds",
    "metric",
    "mean",
    "sd",
]

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> BuiltReport:
    """A run with phantoms, hostile names, failures, gaps, undefined metrics and contamination."""
    folder = tmp_path_factory.mktemp("hostile")
    grid = Grid(
        tasks=("phantom-thorax", "dermamnist", EVIL, FORMULA),
        inits=("imagenet", "scratch", "radimagenet", "=evil()"),
        fail=lambda cell: cell.step == "score" and cell.init == "scratch" and cell.seed == 2,
        skip=lambda cell: cell.step == "score" and cell.task == "dermamnist" and cell.seed == 1,
    )
    store = RecordStore(folder)
    for record in write_run(folder, grid):
        if record.cell.seed == 0 and record.cell.task == "dermamnist" and record.metrics:
            metrics = {**record.metrics, "brier": None}
            store.write(replace(record, metrics=metrics, undefined={"brier": f"because {EVIL}"}))
    return build_report([folder])


class Page(HTMLParser):
    """Collects tags, attributes and visible text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def page(hostile: BuiltReport) -> Page:
    return Page(hostile.html.read_text())


def test_names_from_records_stay_text(hostile: BuiltReport, page: Page):
    assert "img" not in {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert EVIL in page.words
    assert EVIL not in hostile.markdown.read_text() and "&lt;img src=x" in hostile.markdown.read_text()


def test_a_name_cannot_leave_its_cell_in_markdown(hostile: BuiltReport):
    assert escape_markdown("a|b`c`\n<b> *d* $e$ @f [g](h) #i") == (
        r"a\|b\`c\` &lt;b&gt; \*d\* \$e\$ &#64;f \[g\](h) \#i"
    )
    for block in re.findall(r"(?:^\|.*\n)+", hostile.markdown.read_text(), flags=re.M):
        pipes = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(pipes) == 1


def test_a_name_is_no_formula_in_the_csv(hostile: BuiltReport):
    rows = list(csv.DictReader(hostile.csv.open(newline="")))
    assert {row["task"] for row in rows} >= {f"'{FORMULA}".replace("\n", " "), EVIL}
    assert "'=evil()" in {row["init"] for row in rows}


def test_the_page_needs_nothing_but_itself(hostile: BuiltReport, page: Page):
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "xlink:href", "action", "data"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    css = "".join(re.findall(r"<style>(.*?)</style>", hostile.html.read_text(), flags=re.S))
    assert "@import" not in css and "url(" not in css


def test_ids_are_unique_and_what_they_are_referred_to_exists(page: Page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {(a.get("href") or a.get("xlink:href") or "")[1:] for tag, a in page.tags if tag in ("a", "use")}
    wanted |= {
        match for _, a in page.tags for match in re.findall(r"url\(#([^)]*)\)", a.get("clip-path") or "")
    }
    assert wanted <= set(ids)


def test_tables_and_pictures_can_be_read_aloud(page: Page):
    assert all(a.get("scope") in ("row", "col") for tag, a in page.tags if tag == "th")
    tags = [tag for tag, _ in page.tags]
    assert tags.count("caption") == tags.count("table") > 5
    panels = [a for _, a in page.tags if a.get("class") == "panel"]
    assert panels and all(a.get("role") == "img" and len(a.get("aria-label") or "") > 20 for a in panels)


def test_a_generated_task_is_never_named_without_its_warning(hostile: BuiltReport):
    content = hostile.html.read_text()
    for row in re.findall(r"<tr.*?</tr>", content, flags=re.S):
        assert "phantom-thorax" not in row or GENERATED in row
    for label in re.findall(r'aria-label="([^"]*phantom-thorax[^"]*)"', content):
        assert GENERATED in label
    for drawing in re.findall(r"<svg.*?</svg>", content, flags=re.S):
        assert "phantom-thorax" not in drawing or GENERATED in drawing
    for line in hostile.markdown.read_text().splitlines():
        assert "phantom-thorax" not in line or GENERATED in line or line.startswith("| --")
    assert {row["generated"] for row in csv.DictReader(hostile.csv.open()) if "phantom" in row["task"]} == {
        "true"
    }


def test_a_run_of_phantoms_alone_says_so_first(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("phantom-thorax",), inits=("scratch",), fractions=(1.0,)))
    built = build_report([tmp_path])
    assert built.html.read_text().index("Every task here is a phantom") < built.html.read_text().index("<h2")
    assert leaderboard_text(built.results, 80).startswith("Every task here is a phantom")


def test_failures_gaps_undefined_metrics_and_contamination_are_listed(hostile: BuiltReport, page: Page):
    words = " ".join(" ".join(page.words).split())
    assert "12 cells failed" in words and "the loss is not finite at step 40" in words
    assert "12 planned cells without a record" in words and "not run yet" in words
    assert f"because {EVIL}" in words
    assert "are declared to have seen nih-chestxray14" in words
    assert "lesions leak between the splits" in words
    assert "the edge of their grid" in words


def test_the_label_of_pretrained_weights_is_in_the_leaderboard(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("breastmnist",), fractions=(1.0,), seeds=(0,)))
    built = build_report([tmp_path])
    label = "pretrained here on 7,308 images"
    table = re.search(r'<table id="leaderboard-1">.*?</table>', built.html.read_text(), flags=re.S)
    assert table and label in table[0]
    assert label in built.markdown.read_text() and label in leaderboard_text(built.results, 100)


def test_the_csv_is_tidy_sorted_and_complete(hostile: BuiltReport):
    rows = list(csv.DictReader(hostile.csv.open(newline="")))
    assert set(REQUIRED) <= set(rows[0])
    keys = [
        tuple(row[name] for name in ("task", "arch", "init", "protocol", "fraction", "metric", "variant"))
        for row in rows
    ]
    assert len(keys) == len(set(keys)) == sum(len(row.stats) for row in hostile.results.rows)
    wanted = next(
        r for r in hostile.results.rows if (r.task, r.init, r.fraction) == ("phantom-thorax", "scratch", 0.5)
    )
    found = next(
        r
        for r in rows
        if (r["task"], r["init"], r["fraction"], r["metric"]) == ("phantom-thorax", "scratch", "0.5", "auc")
    )
    assert float(found["mean"]) == wanted.stats["auc"].mean and int(found["n_seeds"]) == 2
    brier = next(
        r for r in rows if r["task"] == "dermamnist" and r["metric"] == "brier" and r["init"] == "imagenet"
    )
    assert (brier["n_seeds"], brier["n_undefined"]) == ("1", "1")


def test_the_same_records_give_the_same_bytes(hostile: BuiltReport, tmp_path: Path):
    again = build_report(hostile.results.folders, tmp_path)
    for ours, theirs in (
        (hostile.html, again.html),
        (hostile.csv, again.csv),
        (hostile.markdown, again.markdown),
    ):
        assert ours.read_bytes() == theirs.read_bytes()


def test_the_figures_of_the_markdown_exist_and_are_whole(hostile: BuiltReport):
    shown = re.findall(r"\]\((figures/[\w-]+\.svg)\)", hostile.markdown.read_text())
    assert {hostile.markdown.parent / path for path in shown} == set(hostile.figures)
    for path in hostile.figures:
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


@pytest.mark.parametrize("width", [60, 100])
def test_the_terminal_table_fits_and_warns(hostile: BuiltReport, width: int):
    shown = leaderboard_text(hostile.results, width)
    assert "generated: not evidence\n" not in shown or width < 0  # the wrap is in the task's own column
    assert "phantom-thorax" in shown and "generated: not evidence" in shown and "(2)" in shown


def test_a_run_in_which_all_failed_still_makes_a_report(tmp_path: Path):
    write_run(tmp_path, Grid(fail=lambda cell: True))
    built = build_report([tmp_path])
    assert "No cell has finished" in built.html.read_text()
    assert built.csv.read_text().count("\n") == 1


def test_a_single_record_makes_a_report_without_invented_spread(tmp_path: Path):
    write_run(
        tmp_path,
        Grid(
            tasks=("breastmnist",), inits=("imagenet",), protocols=("linear",), fractions=(1.0,), seeds=(0,)
        ),
    )
    built = build_report([tmp_path])
    body = re.sub(r"<script>.*?</script>", "", built.html.read_text(), flags=re.S)
    assert "±" not in re.sub(r"mean ± standard|mean ± sd", "", body)
    assert "single seed" in built.html.read_text()


def test_no_verdict_is_claimed(hostile: BuiltReport):
    words = hostile.html.read_text().lower()
    assert "winner" not in words and "significant" not in words and "not a verdict" in words


def test_sections_are_found_by_their_files():
    assert {"leaderboard", "learning-curves", "training-curves", "cost", "provenance", "problems"} <= set(
        SECTIONS
    )


def test_reports_import_neither_torch_nor_drawing_tools():
    # `ls` and `--help` see the reports; drawing tools take a second and torch takes three.
    code = (
        "import sys; from mednet_bench.reports.elements.section import SECTIONS; import "
        "mednet_bench.reports.pages.build, "
        "mednet_bench.reports.pages.terminal; list(SECTIONS); print([m for m in ('torch', 'matplotlib', "
        "'seaborn', 'medmnist') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_report_is_built_without_torch_and_leaves_matplotlib_as_it_was(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("breastmnist",), seeds=(0, 1)))
    code = (
        "import sys, pathlib, matplotlib; before = dict(matplotlib.rcParams); "
        "from mednet_bench.reports.pages.build import build_report; "
        "build_report([pathlib.Path(sys.argv[1])]); "
        "print('torch' in sys.modules, dict(matplotlib.rcParams) == before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True"] and done.stderr == ""


def test_seeds_that_change_nothing_are_no_sign_of_certainty(tmp_path: Path):
    # A linear probe on all labels is solved exactly: every seed gives the same score, and an sd of 0.
    store = RecordStore(tmp_path)
    for record in write_run(tmp_path, Grid(tasks=("breastmnist",), inits=("imagenet",), fractions=(1.0,))):
        store.write(replace(record, metrics={"auc": 0.8}) if record.cell.step == "score" else record)
    assert "every seed gives the same score: 1 of 1" in build_report([tmp_path]).html.read_text()


def test_paths_of_the_request_do_not_travel_with_the_report(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("breastmnist",), inits=("imagenet",), fractions=(1.0,)))
    plan = read_plan(tmp_path)
    assert plan
    replace(plan, request={"out": "/home/j.doe/secret/run", "data_root": "/ward-7/data"}).write(tmp_path)
    built = build_report([tmp_path])
    for path in (built.html, built.markdown, built.csv):
        assert "secret" not in path.read_text() and "ward-7" not in path.read_text()


def test_a_phantom_that_has_not_run_yet_is_known_by_the_plan(tmp_path: Path):
    grid = Grid(tasks=("breastmnist", "phantom-organ"), skip=lambda cell: cell.task == "phantom-organ")
    write_run(tmp_path, grid)
    rows = re.findall(r"<tr.*?</tr>", build_report([tmp_path]).html.read_text(), flags=re.S)
    named = [row for row in rows if "phantom-organ" in row]
    assert named and all(GENERATED in row for row in named)
