"""Fixtures of several packages' tests: the browser that opens reports."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait


def major(program: str) -> str:
    """Return the major version of a browser or driver: 131 for `Chromium 131.0.6778`."""
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    return "".join(re.findall(r" (\d+)\.", version)[:1])


def browser_and_driver() -> tuple[str, str] | None:
    """Find a browser and the driver of the same version; several browsers may be installed."""
    driver = shutil.which("chromedriver")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = [binary for binary in map(shutil.which, names) if binary]
    if driver is None:
        return None
    return next(((binary, driver) for binary in found if major(binary) == major(driver)), None)


class LoadingChrome(webdriver.Chrome):
    """Chrome whose `get` returns when the page has loaded: on a busy machine it may return before."""

    def get(self, url: str) -> None:
        super().get(url)
        loaded = "return document.readyState === 'complete' && location.href.split('#')[0] === arguments[0]"
        WebDriverWait(self, 60).until(lambda _: self.execute_script(loaded, url.partition("#")[0]))


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    """A headless Chromium that resolves no host name, so that a page can only use its own file.

    Without a browser the test is skipped, or fails where MEDNET_BENCH_REQUIRE_BROWSER=1 (as in .ci/run).
    """
    found = browser_and_driver()
    if found is None:
        reason = (
            "no Chromium with its chromedriver on the PATH (Debian: apt install chromium chromium-driver)"
        )
        if os.environ.get("MEDNET_BENCH_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    binary, driver = found
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = LoadingChrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()
