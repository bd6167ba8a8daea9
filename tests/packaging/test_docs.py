"""Documentation site: builds without a warning, asks no other host for anything, documents the public API."""

import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest

import mednet_bench
from mednet_bench.cli.main import cli

pytest.importorskip("sphinx", reason="sphinx is not installed: pip install mednet-bench[docs]")
pytest.importorskip("myst_parser", reason="myst-parser is not installed: pip install mednet-bench[docs]")
pytest.importorskip("furo", reason="furo is not installed: pip install mednet-bench[docs]")

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
FOREIGN = re.compile(r"\s*(https?:)?//", re.IGNORECASE)
STYLE_REQUEST = re.compile(
    r"(?:@import\s*(?:url\()?|url\()\s*['\"]?((?:https?:)?//[^'\")\s]+)", re.IGNORECASE
)
ADDRESS = re.compile(r"https?://[^\s'\"`)]+")
NAMESPACE = "http://www.w3.org/"
"""Names of XML vocabularies, which no browser requests."""


class Requests(HTMLParser):
    """Collects the addresses that a browser requests while it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.ids: set[str] = set()
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.inside = tag
        self.ids.add(values.get("id", ""))
        names = [
            "src",
            "srcset",
            "poster",
            "data",
            "style",
            *(["href"] if tag in ("link", "use", "image") else []),
        ]
        for name in names:
            value = values.get(name, "")
            self.found += outside_styles(value) if name == "style" else [value] * bool(FOREIGN.match(value))

    def handle_data(self, data: str) -> None:
        if self.inside == "style":
            self.found += outside_styles(data)
        if self.inside == "script":
            self.found += outside_scripts(data)


def outside_styles(text: str) -> list[str]:
    """List the addresses on other hosts that a style sheet loads."""
    return STYLE_REQUEST.findall(text)


def outside_scripts(text: str) -> list[str]:
    """List the addresses in a script, outside of comments, that are not names of XML vocabularies."""
    code = re.sub(r"/\*.*?\*/|^\s*//.*$", "", text, flags=re.DOTALL | re.MULTILINE)
    return [found for found in ADDRESS.findall(code) if not found.startswith(NAMESPACE)]


def read_page(text: str) -> Requests:
    page = Requests()
    page.feed(text)
    return page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site strictly, as `make docs` does."""
    out = tmp_path_factory.mktemp("docs")
    options = ["--quiet", "--fail-on-warning", "--keep-going", "--doctree-dir", str(out / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(out / "html")]
    built = subprocess.run(command, capture_output=True, text=True)
    assert (built.returncode, built.stderr) == (0, "")
    return out / "html"


@pytest.mark.slow
def test_every_page_is_built(site: Path) -> None:
    assert {page.stem for page in PAGES} <= {page.stem for page in site.glob("*.html")}


@pytest.mark.slow
def test_no_file_of_the_site_requests_another_host(site: Path) -> None:
    scan = {
        ".html": lambda text: read_page(text).found,
        ".svg": lambda text: read_page(text).found + outside_styles(text),
        ".css": outside_styles,
        ".js": lambda text: [] if text.startswith("Search.setIndex(") else outside_scripts(text),
    }
    files = [file for file in site.rglob("*") if file.suffix in scan]
    assert {file.suffix for file in files} >= {".html", ".css", ".js"}
    found = {file.name: scan[file.suffix](file.read_text(encoding="utf-8")) for file in files}
    assert {name: addresses for name, addresses in found.items() if addresses} == {}


@pytest.mark.parametrize(
    "text",
    [
        '<img src="https://img.shields.io/x.svg">',
        '<script src="//cdn.example.org/x.js"></script>',
        '<link rel="stylesheet" href="https://fonts.example.org/css">',
        "<style>@import 'https://fonts.example.org/css';</style>",
        '<p style="background: url(https://example.org/x.png)">',
        '<script>fetch("https://example.org/hits")</script>',
    ],
)
def test_a_request_is_recognized(text: str) -> None:
    assert read_page(text).found


def test_a_hyperlink_is_no_request() -> None:
    assert read_page('<a href="https://medmnist.com">MedMNIST</a>').found == []


@pytest.mark.slow
def test_every_public_name_is_on_the_api_page(site: Path) -> None:
    ids = read_page((site / "api.html").read_text(encoding="utf-8")).ids
    names = {f"mednet_bench.{name}" for name in getattr(mednet_bench, "__all__", ())}
    assert names - ids == set(), "the API page has the names of dir(mednet_bench): list these in its __dir__"
    assert {"mednet_bench.tasks.task.Task", "mednet_bench.baselines.init.InitCard"} <= ids


BLOCKS = {page: re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL) for page in PAGES}
COMMANDS = [
    pytest.param(line, id=f"{page.stem}: {line}")
    for page, blocks in BLOCKS.items()
    for line in "".join(blocks).splitlines()
    if line.startswith("mednet-bench ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_option_of_a_command_on_the_pages_exists(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.toml").touch()
    alone = re.split(r" [|>]| 2>", line)[0]  # without what a shell does with the output
    words, command = shlex.split(alone, comments=True)[1:], cli
    while (
        isinstance(command, click.Group)
        and words
        and words[0] in command.list_commands(click.Context(command))
    ):
        command = command.get_command(click.Context(command), words.pop(0))
    assert command and command is not cli
    with command.make_context(command.name, words):
        pass
