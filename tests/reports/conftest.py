"""Fixtures of the report's tests: runs that never happened, in folders of their own."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `synthetic`, which other tests share

EVIL = "<img src=x onerror=alert(1)>"
Screen = Callable[..., None]


@pytest.fixture(scope="session")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two protocols, three fractions, a phantom, and a task whose name is an attack."""
    from synthetic import Grid, write_run

    from mednet_bench.reports.pages.build import build_report

    folder = tmp_path_factory.mktemp("run")
    write_run(folder, Grid(tasks=("breastmnist", "phantom-thorax", EVIL), protocols=("finetune", "linear")))
    return build_report([folder]).html


@pytest.fixture
def screen(browser: Chrome) -> Iterator[Screen]:
    """Set width, color scheme and medium; the browser, which other tests share, is given back as it was."""

    def emulate(width: int = 1280, scheme: str = "light", medium: str = "") -> None:
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium, "features": features})

    emulate()
    yield emulate
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get("about:blank")
