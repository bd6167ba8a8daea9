"""The page in a real browser: no error, no request, no overflow, and tables that sort."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from synthetic import Grid, write_run

from mednet_bench.reports.build import build

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, Grid(tasks=("breastmnist", "phantom-thorax", EVIL), protocols=("finetune", "linear")))
    return build([folder]).html


@pytest.fixture(autouse=True)
def plain_screen(browser: Chrome) -> Iterator[None]:
    """Give the browser, which other tests share, back as it was."""
    yield
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_the_page_opens_without_errors_requests_or_overflow(
    browser: Chrome, report: Path, width: int, scheme: str
):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("performance")  # forget what the pages before asked for
    browser.get(report.as_uri())
    assert browser.get_log("browser") == []
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert all(url.startswith(("data:", report.as_uri())) for url in asked)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return document.images.length") == 0
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(", "))) < 200) == (scheme == "dark")


def test_a_table_sorts_by_number_and_back(browser: Chrome, report: Path):
    browser.get(report.as_uri())
    rows = "[...document.querySelector('table').tBodies[0].rows]"
    column = f"return {rows}.map(row => Number(row.cells[2].dataset.value))"
    click = "document.querySelector('table').tHead.rows[0].cells[2].querySelector('button').click()"
    before = browser.execute_script(column)
    browser.execute_script(click)
    assert browser.execute_script(column) == sorted(before)
    browser.execute_script(click)
    assert browser.execute_script(column) == sorted(before, reverse=True)
