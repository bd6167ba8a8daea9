"""The first screen in a real browser: it answers, reacts, is shared by its address, and fits."""

import base64
import csv
import io
import json
import re
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.support.ui import WebDriverWait
from synthetic import Grid, write_run

from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.report_input import ReportInput
from mednet_bench.reports.answers.headline import pair_headlines
from mednet_bench.reports.answers.pair_summary import pair_summaries
from mednet_bench.reports.pages.build import BuiltReport, build_report
from mednet_bench.reports.published.manifest import check_published

Screen = Callable[..., None]
MINUS = "\N{MINUS SIGN}"
DOCS = Path(__file__).parents[2] / "docs"
DEMO = Grid(
    tasks=tuple(f"phantom-{name}" for name in ("cells", "lesion", "organ", "stain", "thorax")),
    protocols=("linear",),
    fractions=(0.1, 0.5, 1.0),
)
BOTTOMS = """
return Object.fromEntries(["h1", "#plot svg", "#board-table"].map(name => {
  const box = document.querySelector(name).getBoundingClientRect();
  return [name, [box.left, box.top, box.right, box.bottom]];
}));
"""
PROSE = """
const skipped = "table, svg, figure, nav, #filters, summary, script, style, .skip, .tools, #tip";
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const words = [];
while (texts.nextNode()) {
  const parent = texts.currentNode.parentElement;
  if (parent.closest(skipped) || !parent.checkVisibility()) continue;
  if (parent.getBoundingClientRect().top < innerHeight) words.push(...texts.currentNode.data.split(/\\s+/));
}
return words.filter(Boolean);
"""
SMALL_TEXT = """
return [...document.querySelectorAll("svg text")]
  .filter(text => text.checkVisibility() && text.textContent.trim()).map(text => {
    const matrix = text.getScreenCTM();
    const size = parseFloat(getComputedStyle(text).fontSize) * Math.hypot(matrix.a, matrix.b);
    return [text.textContent, size];
  }).filter(([, size]) => size < 11);
"""
CAUGHT = "window.caught = []; URL.createObjectURL = blob => (window.caught.push(blob), 'data:,');"
READ = (
    "const done = arguments[0]; const blob = window.caught.at(-1);"
    "blob ? blob.text().then(text => done([blob.type, text])) : done(null)"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(
        folder, Grid(tasks=("breastmnist", "retinamnist", "bloodmnist"), protocols=("finetune", "linear"))
    )
    build_report([folder])
    return folder


@pytest.fixture
def page(browser: Chrome, run: Path, screen: Screen) -> str:
    """The address of the page, which the browser shows."""
    screen(1440)
    address = (run / "report" / "report.html").as_uri()
    browser.get("about:blank")
    browser.get(address)
    browser.execute_script(CAUGHT)
    return address


def text(browser: Chrome, selector: str) -> str:
    return browser.execute_script("return document.querySelector(arguments[0]).textContent", selector)


def choose(browser: Chrome, name: str, option: str) -> None:
    browser.execute_script(
        "const select = document.getElementById(arguments[0]);"
        "select.selectedIndex = [...select.options].findIndex(one => one.textContent === arguments[1]);"
        "select.dispatchEvent(new Event('change'))",
        name,
        option,
    )


def verdict_rows(run: Path) -> dict[tuple[str, ...], dict[str, str]]:
    names = ("task", "init_a", "init_b", "protocol")
    rows = csv.DictReader((run / "report" / "verdicts.csv").open())
    return {(*(r[name] for name in names), f"{float(r['fraction']):g}"): r for r in rows}


def first_screen_fits(browser: Chrome, address: str, screen: Screen) -> None:
    screens = ((1440, 900, ("h1", "#plot svg", "#board-table")), (390, 844, ("h1", "#plot svg")))
    for width, height, parts in screens:
        screen(width)
        browser.get("about:blank")
        browser.get(address)
        boxes = browser.execute_script(BOTTOMS)
        assert [
            name
            for name in parts
            if (box := boxes[name]) and (box[3] > height or box[2] > width or box[0] < 0)
        ] == []
        words = browser.execute_script(PROSE)
        assert len(words) <= 120, " ".join(words)
    assert len(text(browser, "h1").split()) <= 20
    for semantic in ("main", "main table", "main svg"):
        assert browser.execute_script("return document.querySelector(arguments[0]) !== null", semantic)


def test_headline_plot_and_table_fit_the_first_screen(browser: Chrome, page: str, screen: Screen):
    first_screen_fits(browser, page, screen)


def phone_shows_verdicts(browser: Chrome, address: str, screen: Screen) -> None:
    screen(390)
    browser.get("about:blank")
    browser.get(address)
    places = browser.execute_script(
        "return [...document.querySelectorAll('#board-table tbody tr:not(.explain)')].map(row =>"
        "[row.cells[5], row.cells[6]].map(cell => cell.getBoundingClientRect()).map(b => [b.left, b.right]))"
    )
    assert places and all(0 <= left < right <= 390 for row in places for left, right in row)


def test_a_phone_shows_difference_and_verdict(browser: Chrome, page: str, screen: Screen):
    phone_shows_verdicts(browser, page, screen)


def test_no_table_scrolls_and_no_text_of_a_chart_is_small(browser: Chrome, page: str, screen: Screen):
    scrolling = (
        "return [...document.querySelectorAll('table')].filter(table => { for (let box = table.parentElement;"
        "box !== document.body; box = box.parentElement)"
        "if (/auto|scroll/.test(getComputedStyle(box).overflow)) return true; }).length"
    )
    for width in (1440, 390):
        screen(width)
        browser.get("about:blank")
        browser.get(page)
        browser.execute_script(
            "for (const folded of document.querySelectorAll('details')) folded.open = true"
        )
        assert browser.execute_script(scrolling) == 0
        assert browser.execute_script(SMALL_TEXT) == []


def test_the_table_shows_the_verdicts_of_the_file(browser: Chrome, page: str, run: Path):
    rows = verdict_rows(run)
    shown = browser.execute_script(
        "return [...document.querySelectorAll('#board-table tbody tr:not(.explain)')].map(({cells}) =>"
        "[cells[0].textContent, cells[1].firstChild.textContent, cells[5].querySelector('b').textContent,"
        "cells[5].querySelector('small').textContent, cells[6].textContent.split(' ')[1]])"
    )
    assert len(shown) == 9
    for task, share, difference, interval, verdict in shown:
        fraction = f"{float(share.split()[0]) / 100:g}"
        row = rows[task, "mednet", "imagenet", "finetune", fraction]
        ends = [f"{float(row[name]):+.3f}".replace("-", MINUS) for name in ("low", "high")]
        assert difference == f"{float(row['difference']):+.3f}".replace("-", MINUS)
        assert (interval, verdict) == (" to ".join(ends), row["verdict"])


def test_two_other_inits_are_compared_from_the_other_side(browser: Chrome, page: str, run: Path):
    choose(browser, "first", "scratch")
    assert "scratch" in text(browser, "#board-table caption") and "view-first=scratch" in browser.current_url
    row = verdict_rows(run)["breastmnist", "imagenet", "scratch", "finetune", "1"]
    shown = text(browser, "#board-table tbody tr b").replace(MINUS, "-")
    assert float(shown) == pytest.approx(-float(row["difference"]), abs=6e-4)
    swapped = {"better": "worse", "worse": "better"}.get(row["verdict"], row["verdict"])
    assert swapped in text(browser, "#board-table tbody .verdict")
    assert "scratch" in text(browser, "h1") and "imagenet" in text(browser, "h1")


def test_labels_saved_and_cost_of_the_pair_are_in_the_table(browser: Chrome, page: str, run: Path):
    results = load_report_input([run])
    for protocol in ("finetune", "linear"):
        choose(browser, "protocol", protocol)
        labels, cost = pair_summaries(results)[("mednet", "imagenet"), protocol, "tf_efficientnet_lite0"]
        shown = [text(browser, f"#board-table tfoot tr:nth-child({at}) td") for at in (1, 2)]
        assert shown == [labels, cost] and "of 3 tasks" in labels and "of pretraining, once" in cost
    links = "return [...document.querySelectorAll('#board-table tfoot a')].map(link => link.hash)"
    assert browser.execute_script(links) == ["#labels-saved", "#cost"]


def test_metric_protocol_and_labels_switch_and_are_in_the_address(browser: Chrome, page: str):
    before = text(browser, "#board-table tbody td:nth-of-type(2)")
    choose(browser, "metric", "Balanced acc.")
    choose(browser, "protocol", "linear")
    choose(browser, "labels", "10\N{NO-BREAK SPACE}%")
    caption = text(browser, "#board-table caption")
    assert "Balanced acc." in caption and "linear" in caption and "10" in caption
    assert text(browser, "#board-table tbody td:nth-of-type(2)") != before
    link, shown = browser.current_url, text(browser, "#board-table")
    browser.get("about:blank")
    browser.get(link)
    assert text(browser, "#board-table") == shown
    browser.execute_script("document.getElementById('reset').click()")
    assert "view-" not in browser.current_url and "AUC" in text(browser, "#board-table caption")


def test_a_task_and_an_init_are_focused_by_a_click(browser: Chrome, page: str):
    panels = "return document.querySelectorAll('.panel-curve').length"
    lines = "return document.querySelectorAll('.panel-curve path[stroke]').length"
    assert (browser.execute_script(panels), browser.execute_script(lines)) == (3, 9)
    browser.execute_script("document.querySelector('#board-table tbody th button').click()")
    assert browser.execute_script(panels) == 1 and "task=breastmnist" in browser.current_url
    browser.execute_script("document.querySelector('.legend [data-init=mednet]').click()")
    assert browser.execute_script(lines) == 1 and "init=mednet" in browser.current_url
    browser.execute_script("document.querySelector('.panel-curve .tick').dispatchEvent(new Event('click'))")
    assert "view-labels=10" in browser.current_url


def test_values_intervals_and_n_are_shown_on_hover_and_by_keyboard(browser: Chrome, page: str):
    tip = "const tip = document.getElementById('tip'); return tip.hidden ? '' : tip.textContent"
    browser.execute_script("document.querySelector('.panel-curve').focus()")
    first = browser.execute_script(tip)
    assert re.search(r"mednet 0\.\d{3} ± 0\.\d{3} \(n = 3, labels: 546 train, 68 val\)", first)
    press = "document.querySelector('.panel-curve').dispatchEvent(new KeyboardEvent('keydown', arguments[0]))"
    browser.execute_script(press, {"key": "ArrowLeft"})
    assert "50" in browser.execute_script(tip) and browser.execute_script(tip) != first
    browser.execute_script("document.activeElement.blur()")
    assert browser.execute_script(tip) == ""
    browser.execute_script(
        "document.querySelector('#board-table tbody svg').dispatchEvent(new PointerEvent('pointermove'))"
    )
    assert re.search(r"95 % interval .* to .*3 common seeds, \d+ test images", browser.execute_script(tip))


def test_definition_flags_and_records_open_beside_the_number(browser: Chrome, page: str, run: Path):
    browser.execute_script("document.querySelector('#board-table .verdict button').click()")
    said = text(browser, "#board-table .explain")
    assert "The 95 % interval covers" in said and "Flag" in said
    keys = re.findall(r"records/([0-9a-f]+)\.json", said)
    assert len(keys) == 6 and all((run / "records" / f"{key}.json").is_file() for key in keys)


def test_the_table_is_saved_as_csv_and_the_plot_as_svg_and_png(browser: Chrome, page: str, run: Path):
    browser.execute_script("document.querySelector('#scores .tools button').click()")
    kind, content = browser.execute_async_script(READ)
    rows = list(csv.reader(io.StringIO(content)))
    assert kind == "text/csv" and len(rows) == 10 and rows[1][6:9] == ["mednet", "imagenet", "auc"]
    stored = verdict_rows(run)["breastmnist", "mednet", "imagenet", "finetune", "1"]
    saved = dict(zip(*rows[:2], strict=True))
    for name in ("difference", "low", "high"):
        assert float(saved[name]) == pytest.approx(float(stored[name]), abs=1e-6)
    assert saved["verdict"] == stored["verdict"]
    browser.execute_script("document.querySelectorAll('#plot .tools button')[0].click()")
    kind, content = browser.execute_async_script(READ)
    root = ElementTree.fromstring(content)
    drawn = [part.text for part in root.iter() if part.tag.endswith("text")]
    assert kind == "image/svg+xml" and {"breastmnist", "test AUC", "mednet"} <= {*drawn}
    browser.execute_script("document.querySelectorAll('#plot .tools button')[1].click()")
    WebDriverWait(browser, 60).until(lambda _: browser.execute_script("return window.caught.length > 2"))
    assert browser.execute_script("return window.caught.at(-1).type") == "image/png"
    assert browser.get_log("browser") == []


def test_one_number_of_labels_gives_a_forest_plot(browser: Chrome, tmp_path: Path, screen: Screen):
    write_run(tmp_path, Grid(tasks=("breastmnist", "retinamnist"), fractions=(1.0,)))
    browser.get(build_report([tmp_path]).html.as_uri())
    drawn = text(browser, "#plot")
    assert "imagenet better ◂ difference in AUC ▸ mednet better" in drawn and "breastmnist" in drawn
    assert browser.execute_script("return document.querySelectorAll('#plot g[tabindex]').length") == 2


def test_a_page_without_a_pair_still_opens(browser: Chrome, tmp_path: Path, screen: Screen):
    write_run(tmp_path, Grid(tasks=("breastmnist",), inits=("scratch",)))
    browser.get(build_report([tmp_path]).html.as_uri())
    assert browser.get_log("browser") == []
    assert "Nothing to compare" in text(browser, "main")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_no_barrier(browser: Chrome, page: str, screen: Screen, scheme: str, width: int):
    screen(width, scheme)
    browser.get("about:blank")
    browser.get(page)
    browser.execute_script((files("axe_core_python") / "axe.min.js").read_text())
    browser.set_script_timeout(120)
    found = browser.execute_async_script(
        "const done = arguments[0];"
        "axe.run().then(all =>"
        "done([all.passes.length, all.violations.map(one => [one.id, one.nodes[0].html])]))"
    )
    assert found[0] > 20 and found[1] == []


@pytest.mark.slow
def test_the_demo_prints_on_at_most_15_pages(browser: Chrome, tmp_path: Path, screen: Screen):
    write_run(tmp_path, DEMO)
    browser.get(build_report([tmp_path]).html.as_uri())
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", base64.b64decode(printed["data"])))
    assert 2 <= pages <= 15


@pytest.mark.slow
def test_a_long_page_is_packed_and_unpacked_where_it_is_read(
    browser: Chrome, run: Path, page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("mednet_bench.reports.pages.html_page.PACK_ABOVE", 1000)
    packed = build_report([run], tmp_path).html
    assert packed.stat().st_size < (run / "report" / "report.html").stat().st_size / 2
    rows = "return document.querySelectorAll('#leaderboard-1 tbody tr').length"
    browser.get(page)
    count = browser.execute_script(rows)
    browser.get("about:blank")
    browser.get(f"{packed.as_uri()}#sort=leaderboard-1:0:d")
    WebDriverWait(browser, 60).until(lambda _: browser.execute_script(rows))
    assert browser.execute_script(rows) == count > 0
    first = text(browser, "#leaderboard-1 tbody th")
    assert first.startswith("retinamnist") and browser.get_log("browser") == []


def test_the_data_of_the_page_are_plain_json(run: Path):
    content = (run / "report" / "report.html").read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', content, flags=re.S)
    assert found and "<" not in found[1]
    data = json.loads(found[1])
    assert len(data["rows"]) == 54 and len(data["verdicts"]["auc"]) == 54


# the published results that the repository carries: whole, as the docs say, and legible at a glance
@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("carried")
    with tarfile.open(DOCS / "results" / "published.tar.xz") as archive:
        archive.extractall(folder)
    return folder / "published"


@pytest.fixture(scope="module")
def built(published: Path, tmp_path_factory: pytest.TempPathFactory) -> BuiltReport:
    return build_report([published], tmp_path_factory.mktemp("report"))


@pytest.fixture
def results(built: BuiltReport) -> ReportInput:
    return built.results


@pytest.mark.slow
def test_every_file_is_as_it_was_published(published: Path):
    manifest = check_published(published)
    assert len({task.task for task in manifest.tasks}) == 14
    assert all(task.license for task in manifest.tasks)
    assert not list(published.rglob("*.png")) and load_report_input([published]).rows


@pytest.mark.slow
def test_the_docs_state_the_headlines_of_the_records(results: ReportInput):
    stated = (DOCS / "results.md").read_text().replace("\n", " ")
    for found in pair_headlines(results):
        assert found.text.replace("\N{NO-BREAK SPACE}", " ") in re.sub(r" +", " ", stated)


@pytest.mark.slow
def test_the_first_screen_holds_headline_plot_and_leaderboard(
    browser: Chrome, built: BuiltReport, screen: Callable[..., None]
):
    first_screen_fits(browser, built.html.as_uri(), screen)
    phone_shows_verdicts(browser, built.html.as_uri(), screen)
    assert browser.execute_script(SMALL_TEXT) == []
    assert built.html.stat().st_size < 3_000_000
