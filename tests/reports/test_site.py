"""The site of published runs: every page links to pages that exist, and no liar or stranger gets in."""

import html
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from selenium.webdriver import Chrome
from synthetic import Grid, write_run

from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.cli.main import cli
from mednet_bench.core.errors import UserError
from mednet_bench.reports.pages.site import build_site, page_name
from mednet_bench.reports.published.publish import publish_runs

EVIL = "<img src=x onerror=alert(1)>"
GRIDS = {
    "lab-a": Grid(tasks=("breastmnist", EVIL), fractions=(0.1, 1.0), seeds=(0, 1)),
    "lab-b": Grid(
        tasks=("breastmnist", "retinamnist"), inits=("imagenet", "radimagenet", "scratch"), seeds=(0, 1),
        archs=("resnet18", "resnet50"), protocols=("linear",), fractions=(1.0,),
    ),
    "lab-c": Grid(tasks=("phantom-x",), inits=("zoo/Some One", "scratch"), seeds=(0, 1), fractions=(1.0,)),
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three published runs; the weights of radimagenet are declared to have seen every task."""
    folder = tmp_path_factory.mktemp("published")
    for name, grid in GRIDS.items():
        write_run(folder / "runs" / name, grid)
        publish_runs([folder / "runs" / name], folder / name)
    return [folder / name for name in GRIDS]


@pytest.fixture(scope="module")
def site(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(runs, tmp_path_factory.mktemp("web") / "site").parent


@pytest.fixture
def copies(runs: list[Path], tmp_path: Path) -> list[Path]:
    """The three published runs, to be changed."""
    return [shutil.copytree(run, tmp_path / run.name) for run in runs]


class Page(HTMLParser):
    """Links, addresses that a browser loads, and marks of the rows of each section."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.policy, self.section = "", ""
        self.texts: dict[str, str] = {}
        self.marks: dict[str, list[str]] = {}
        self.facets: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.section = values["id"] if tag == "section" else self.section
        self.links += [values["href"]] if tag == "a" and not values["href"].startswith("#") else []
        self.loaded += [values[name] for name in ("src", "srcset") if name in values]
        self.loaded += [values.get("href") or values["xlink:href"]] if tag in ("link", "use", "image") else []
        self.facets |= {values["data-facet"]} if "data-facet" in values else set()
        if tag == "tr" and "data-marks" in values:
            self.marks.setdefault(self.section, []).append(values["data-marks"])
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]

    def handle_endtag(self, tag: str) -> None:
        self.section = "" if tag == "section" else self.section

    def handle_data(self, data: str) -> None:
        self.texts[self.section] = self.texts.get(self.section, "") + data


def all_pages(site: Path) -> dict[str, Page]:
    return {path.relative_to(site).as_posix(): Page(path) for path in sorted(site.rglob("*.html"))}


def test_every_task_and_init_has_a_page_and_every_link_a_target(site: Path) -> None:
    pages = all_pages(site)
    tasks = {"breastmnist", EVIL, "retinamnist", "phantom-x"}
    inits = {"mednet", "imagenet", "scratch", "radimagenet", "zoo/Some One"}
    wanted = {f"tasks/{page_name(task)}.html" for task in tasks}
    wanted |= {f"inits/{page_name(init)}.html" for init in inits}
    assert pages.keys() == {"index.html", *wanted} and len(wanted) == 9
    assert set(pages["index.html"].links) == wanted
    for name, page in pages.items():
        assert all((site / name).parent.joinpath(link).resolve().is_file() for link in page.links), name
        assert name == "index.html" or "../index.html" in page.links
        assert (site / name).parent.joinpath("leaderboard.csv").is_file(), "as the foot of the page says"


def test_every_page_loads_nothing_and_runs_only_its_own_script(site: Path) -> None:
    for name, page in all_pages(site).items():
        assert [each for each in page.loaded if not each.startswith(("data:", "#"))] == [], name
        assert page.policy.startswith("default-src 'none'") and "script-src 'sha256-" in page.policy, name


def test_a_hostile_name_is_text_and_leads_to_no_other_folder(site: Path) -> None:
    for path in site.rglob("*"):
        assert path.is_dir() or EVIL not in path.read_text() or path.suffix == ".csv"
        assert re.fullmatch(r"[a-z0-9_.-]+", path.name)
    assert EVIL in html.unescape((site / "tasks" / f"{page_name(EVIL)}.html").read_text())


def test_different_names_have_different_files() -> None:
    names = [
        "a",
        "A",
        "a b",
        "a-b",
        "a/b",
        "a--b",
        "../a",
        "",
        "-",
        "ä",
        "a" * 300,
        "a" * 301,
        "con.",
        "index",
    ]
    assert len({page_name(name).lower() for name in names}) == len(names)
    assert page_name("breastmnist") == "breastmnist"
    assert all(re.fullmatch(r"[a-z0-9_-]{1,80}", page_name(name)) for name in names)


def test_contaminated_rows_are_apart_and_never_ranked(site: Path) -> None:
    pages = all_pages(site)
    for name in ("index.html", "tasks/breastmnist.html", "inits/radimagenet.html"):
        assert "radimagenet" in pages[name].texts["not-ranked"], name
        assert "radimagenet" not in pages[name].texts.get("leaderboard", ""), name
        assert "radimagenet" not in pages[name].texts.get("verdicts", ""), name
    assert "imagenet" in pages["index.html"].texts["leaderboard"]
    assert "not-ranked" not in pages["inits/mednet.html"].texts
    apart = (
        (site / "index.html").read_text().partition('<section id="not-ranked"')[2].partition("</section>")[0]
    )
    assert "<tbody>" in apart and "<strong>" not in apart


def test_a_page_has_the_rows_of_its_task_or_init_alone(site: Path) -> None:
    pages = all_pages(site)
    index, part = pages["index.html"], pages["tasks/retinamnist.html"]
    assert {"task", "modality", "arch", "protocol", "fraction", "init"} <= index.facets
    assert all("arch-" in marks and "modality-" in marks for marks in index.marks["leaderboard"])
    assert "retinamnist" in part.texts["verdicts"]  # whose flags also name the other tasks that have them
    assert "breastmnist" not in part.texts["leaderboard"] + part.texts["provenance"]
    assert "mednet" not in re.sub(
        "(rad)?imagenet|retinamnist", "", pages["inits/imagenet.html"].texts["leaderboard"]
    )
    rows = len(part.marks["leaderboard"])
    assert rows == len(index.marks["leaderboard"]) - len(index_of(index, "leaderboard", "breastmnist", site))


def index_of(page: Page, section: str, but: str, site: Path) -> list[str]:
    """Return the marks of the rows of `section` that are of another task than retinamnist."""
    choices = re.findall(r'id="(task-\d)" name="task" value="([^"]+)"', (site / "index.html").read_text())
    (own,) = [mark for mark, value in choices if value == "retinamnist"]
    return [marks for marks in page.marks[section] if own not in marks.split()]


def test_a_reader_filters_by_architecture(browser: Chrome, site: Path) -> None:
    browser.get((site / "index.html").as_uri() + "#&arch=resnet50")
    rows = browser.execute_script(
        "return [...document.querySelectorAll('#leaderboard tbody tr')].map(r => [r.hidden, r.dataset.marks])"
    )
    archs = {hidden: {re.findall(r"arch-\d", marks)[0] for also, marks in rows if also == hidden}
             for hidden, _ in rows}  # fmt: skip
    assert len(archs[False]) == 1 and archs[True] and not archs[False] & archs[True]
    assert browser.get_log("browser") == []


def first_record(run: Path) -> Path:
    return sorted((run / "records").iterdir())[0]


def set_manifest(run: Path, **changes: object) -> None:
    known = json.loads((run / "published.json").read_text())
    (run / "published.json").write_text(json.dumps(known | changes))


LIES: dict[str, Callable[[Path], object]] = {
    r"has another SHA-256": lambda run: first_record(run).write_bytes(
        first_record(run).read_bytes().replace(b'"auc":0.', b'"auc":0.9', 1)
    ),
    r"is missing": lambda run: first_record(run).unlink(),
    r"evil\.json is not in published\.json": lambda run: (
        (run / "leakage").mkdir() or (run / "leakage" / "evil.json").write_text("{}")
    ),
    r"publish it first \(mednet-bench publish": lambda run: (run / "published.json").unlink(),
    r"cannot be read": lambda run: (run / "published.json").write_text("{"),
    r"in a format that this version does not read": lambda run: set_manifest(run, record_format=99),
    r"in a format that this version does not read:": lambda run: set_manifest(run, format=2),
}


@pytest.mark.parametrize("fault", LIES)
def test_the_liar_is_refused_by_name_and_nothing_is_written(
    copies: list[Path], tmp_path: Path, fault: str
) -> None:
    LIES[fault](copies[1])
    with pytest.raises(UserError, match=rf"lab-b.*{fault}") as caught:
        build_site(copies, tmp_path / "site")
    assert "lab-a" not in str(caught.value) and "lab-c" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {*GRIDS}


def test_a_report_beside_the_records_is_no_lie(copies: list[Path], tmp_path: Path) -> None:
    (copies[2] / "report").mkdir()
    (copies[2] / "report" / "report.html").write_text("")
    assert build_site(copies[2:], tmp_path / "site").is_file()


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("images", lambda r: msgspec.structs.replace(r.hashes, data="sha256:other")),
        ("classes", lambda r: msgspec.structs.replace(r.hashes, card="other")),
        ("numbers of test images", lambda r: msgspec.structs.replace(r.counts, test=299)),
    ],
)
def test_other_data_of_a_task_are_refused(
    runs: list[Path], tmp_path: Path, what: str, change: Callable
) -> None:
    run = tmp_path / "run"
    write_run(run, replace(GRIDS["lab-b"], tasks=("retinamnist",)))
    store = RecordStore(run)
    for record in list(store.read_all()):
        if record.status == "ok" and record.cell.step == "score":
            field = "counts" if what.startswith("numbers") else "hashes"
            store.write(
                msgspec.structs.replace(record, key="f" + record.key[1:], **{field: change(record)}),
                store.read_predictions(record.key),
            )
            store.path(record.key).unlink()
    publish_runs([run], tmp_path / "other")
    with pytest.raises(
        UserError, match=rf"Task retinamnist at 28 px has different {what} in .*lab-b and .*other"
    ):
        build_site([*runs, tmp_path / "other"], tmp_path / "site")
    assert not (tmp_path / "site").exists()


@pytest.mark.slow
def test_a_foreign_folder_is_refused_and_an_older_site_replaced(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    with pytest.raises(UserError, match=r"exists and has no site\.json"):
        build_site(runs[2:], tmp_path / "mine")
    assert (tmp_path / "mine" / "index.html").read_text() == "mine"
    for chosen in (runs[1:], runs[2:]):
        build_site(chosen, tmp_path / "site")
    assert {path.name for path in (tmp_path / "site" / "tasks").glob("*.html")} == {"phantom-x.html"}
    first = {path: path.read_bytes() for path in (tmp_path / "site").rglob("*.*")}
    build_site(runs[2:], tmp_path / "site")
    assert {path: path.read_bytes() for path in (tmp_path / "site").rglob("*.*")} == first


def test_the_commands_publish_and_make_the_site(tmp_path: Path) -> None:
    def invoke(*words: object):
        return CliRunner().invoke(cli, [*map(str, words)], standalone_mode=False)

    write_run(tmp_path / "run", GRIDS["lab-c"])
    shown = invoke("publish", tmp_path / "run", "--to", tmp_path / "out")
    assert shown.return_value == 0 and "published: " in shown.output
    shown = invoke("leaderboard", tmp_path / "out", "--html", tmp_path / "site")
    assert shown.return_value == 0 and (tmp_path / "site" / "index.html").is_file()
    table = invoke("leaderboard", tmp_path / "out")
    assert table.output == invoke("leaderboard", tmp_path / "run").output != ""
    for words in (("--format", "csv"), ("--metric", "auc"), ("--protocol", "finetune")):
        refused = invoke("leaderboard", tmp_path / "out", "--html", tmp_path / "site", *words)
        assert isinstance(refused.exception, UserError) and "leave out" in str(refused.exception)
