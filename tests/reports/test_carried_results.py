"""The published results that the repository carries: whole, as the docs say, and legible at a glance."""

import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from test_first_screen import SMALL_TEXT, first_screen_fits, phone_shows_verdicts

from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.report_input import ReportInput
from mednet_bench.reports.answers.headline import pair_headlines
from mednet_bench.reports.pages.build import BuiltReport, build_report
from mednet_bench.reports.published.manifest import check_published

pytestmark = pytest.mark.slow
DOCS = Path(__file__).parents[2] / "docs"


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


def test_every_file_is_as_it_was_published(published: Path):
    manifest = check_published(published)
    assert len({task.task for task in manifest.tasks}) == 14
    assert all(task.license for task in manifest.tasks)
    assert not list(published.rglob("*.png")) and load_report_input([published]).rows


def test_the_docs_state_the_headlines_of_the_records(results: ReportInput):
    stated = (DOCS / "results.md").read_text().replace("\n", " ")
    for found in pair_headlines(results):
        assert found.text.replace("\N{NO-BREAK SPACE}", " ") in re.sub(r" +", " ", stated)


def test_the_first_screen_holds_headline_plot_and_leaderboard(
    browser: Chrome, built: BuiltReport, screen: Callable[..., None]
):
    first_screen_fits(browser, built.html.as_uri(), screen)
    phone_shows_verdicts(browser, built.html.as_uri(), screen)
    assert browser.execute_script(SMALL_TEXT) == []
    assert built.html.stat().st_size < 3_000_000
