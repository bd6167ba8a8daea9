"""Ten thousand records become a page of bounded size, whose filter touches what it must; no clock is read."""

import subprocess
import sys
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from synthetic import LARGE, write_run

BUILD = """
import pathlib, sys
from mednet_bench.reports.pages.build import build_report
built = build_report([pathlib.Path(sys.argv[1])])
# of this program alone: ru_maxrss would also know what the test's own process held when it forked
status = pathlib.Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
peak = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
print(peak * 1024, len(built.results.counted), *sys.modules)
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The page of ten thousand records, with what it took: bytes of memory, cells that count, modules."""
    folder = tmp_path_factory.mktemp("big")
    assert len(write_run(folder, LARGE)) > 10_000
    command = [sys.executable, "-c", BUILD, str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return folder / "report" / "report.html", said.split()


def test_ten_thousand_records_take_less_than_two_gibibytes_and_no_torch(built: tuple[Path, list[str]]):
    page, (peak, cells, *modules) = built
    assert int(cells) == 9720
    assert int(peak) < 2 * 1024**3
    assert "mednet_bench.reports.pages.build" in modules and "torch" not in modules
    assert page.stat().st_size < 3_000_000


CHANGES = """
const observer = new MutationObserver(() => {});
observer.observe(document, { attributes: true, childList: true, characterData: true, subtree: true });
document.querySelector("[name=init][value=mednet]").click();
return observer.takeRecords().length;
"""


def test_their_page_has_few_elements_and_a_filter_changes_each_once(
    browser: Chrome, built: tuple[Path, list[str]]
):
    browser.get(built[0].as_uri())
    assert browser.execute_script("return document.getElementsByTagName('*').length") < 10_000  # at first
    browser.set_script_timeout(300)
    browser.execute_async_script(
        "const done = arguments[0]; Promise.all(sections.map(openSection)).then(applyMarks).then(done)"
    )
    elements = browser.execute_script("return document.getElementsByTagName('*').length")
    marked = browser.execute_script("return document.querySelectorAll('[data-marks]').length")
    changes = browser.execute_script(CHANGES)
    browser.get("about:blank")
    print(elements, marked, changes)
    assert elements < 250_000
    assert 0 < changes < 2 * marked
