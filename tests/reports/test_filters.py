"""Sorting, filtering and linking in a real browser: the address holds what was chosen."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.support.ui import WebDriverWait

EVIL = "<img src=x onerror=alert(1)>"
SHOWN = (
    "return [...document.querySelectorAll('tr[data-marks]')].filter(r => !r.hidden).map(r => r.textContent)"
)
MARKED = "return document.querySelectorAll('tr[data-marks]').length"


@pytest.fixture
def page(browser: Chrome, hostile_page: Path, screen: Callable[..., None]) -> str:
    """The address of the page, which the browser shows."""
    browser.get("about:blank")
    browser.get(hostile_page.as_uri())
    return hostile_page.as_uri()


def names(browser: Chrome, place: int, table: str = "leaderboard-1") -> set[str]:
    """The visible texts of one column, small print left out."""
    script = (
        "return [...document.getElementById(arguments[0]).tBodies[0].rows].filter(row => !row.hidden)"
        ".map(row => row.cells[arguments[1]].firstChild.textContent.trim())"
    )
    return set(browser.execute_script(script, table, place))


def click(browser: Chrome, selector: str) -> None:
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def test_a_table_sorts_by_number_and_back(browser: Chrome, page: str):
    values = (
        "return [...document.querySelector('#leaderboard-1').tBodies[0].rows]"
        ".map(row => Number(row.cells[2].dataset.value))"
    )
    before = browser.execute_script(values)
    click(browser, "#leaderboard-1 th:nth-child(3) button")
    assert browser.execute_script(values) == sorted(before)
    assert browser.current_url.endswith("sort=leaderboard-1:2:a")
    click(browser, "#leaderboard-1 th:nth-child(3) button")
    assert browser.execute_script(values) == sorted(before, reverse=True)
    click(browser, "#reset")
    assert browser.execute_script(values) == before and "sort" not in browser.current_url


def test_two_values_of_a_facet_widen_and_two_facets_narrow(browser: Chrome, page: str):
    click(browser, "[name=init][value=mednet]")
    assert names(browser, 1) == {"mednet"}
    click(browser, "[name=init][value=scratch]")
    assert names(browser, 1) == {"mednet", "scratch"}
    click(browser, "[name=task][value=breastmnist]")
    assert names(browser, 0) == {"breastmnist"} and names(browser, 1) == {"mednet", "scratch"}
    shown, marked = len(browser.execute_script(SHOWN)), browser.execute_script(MARKED)
    assert browser.find_element("id", "shown").text == f"Showing {shown} of {marked} rows"
    click(browser, "#reset")
    assert len(browser.execute_script(SHOWN)) == marked
    assert browser.find_element("id", "shown").text == ""


def test_a_filter_hides_the_pictures_and_tables_of_other_values(browser: Chrome, page: str):
    panels = (
        "return [...document.querySelectorAll('#learning-curves .panel')]"
        ".filter(p => p.checkVisibility()).map(p => p.ariaLabel)"
    )
    assert len(browser.execute_script(panels)) == 6
    click(browser, "[name=task][value=breastmnist]")
    click(browser, "[name=protocol][value=linear]")
    left = browser.execute_script(panels)
    assert len(left) == 1 and "breastmnist" in left[0]
    headings = (
        "return [...document.querySelectorAll('#leaderboard h3')].filter(h => h.checkVisibility()).length"
    )
    assert browser.execute_script(headings) == 1  # linear


def test_a_folded_table_opens_where_the_filter_leaves_no_open_one(browser: Chrome, page: str):
    click(browser, "[name=fraction][value='0.1']")
    visible = (
        "return [...document.querySelectorAll('#leaderboard table')].filter(t => t.checkVisibility()).length"
    )
    assert browser.execute_script(visible) == 2  # one per protocol


def test_a_modality_covers_its_tasks(browser: Chrome, page: str):
    click(browser, "[name=modality][value=ultrasound]")
    assert names(browser, 0) == {"breastmnist"}


def test_a_link_shows_the_same_in_a_fresh_tab(browser: Chrome, page: str):
    click(browser, f"[name=task][value='{EVIL}']")
    click(browser, "[name=task][value=breastmnist]")
    click(browser, "[name=fraction][value='1']")
    click(browser, "#leaderboard-1 th:nth-child(3) button")
    link, shown = browser.current_url, browser.execute_script(SHOWN)
    assert shown and "<" not in link
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(link)
    assert browser.execute_script(SHOWN) == shown
    assert browser.current_url == link
    assert browser.get_log("browser") == []
    browser.close()
    browser.switch_to.window(first)


def test_another_address_of_the_open_page_is_followed(browser: Chrome, page: str):
    browser.get(f"{page}#init=mednet")
    assert names(browser, 1) == {"mednet"}
    browser.get(f"{page}#init=scratch&sort=leaderboard-1:0:d")
    assert names(browser, 1) == {"scratch"}
    browser.back()
    assert names(browser, 1) == {"mednet"}


def test_a_link_to_a_section_moves_there_and_keeps_the_filter(browser: Chrome, page: str):
    click(browser, "[name=init][value=mednet]")
    click(browser, "nav a[href='#cost']")
    assert browser.current_url.endswith("#cost&init=mednet") and names(browser, 1) == {"mednet"}
    top = "return document.getElementById('cost').getBoundingClientRect().top"
    WebDriverWait(browser, 10).until(lambda _: 0 <= browser.execute_script(top) < 100)  # it scrolls smoothly
    browser.get("about:blank")
    browser.get(f"{page}#cost&init=mednet")
    assert 0 <= browser.execute_script(top) < 100


NONSENSE = (
    f"#nowhere&task=nope,%E0%A4%A,{quote(EVIL + '!')}&init=&=&&sort=leaderboard-1:99:d,x:0:a,filters:0:a,"
    "leaderboard-1:1&__proto__=x&constructor=y&theme=%3Cscript%3Ealert(1)%3C/script%3E&fraction=NaN"
)


@pytest.mark.parametrize("fragment", [NONSENSE, "#%", "#=&=&", "#" + "a=b&" * 5000, "#constructor", "#sort"])
def test_nonsense_in_the_address_chooses_nothing(browser: Chrome, page: str, fragment: str):
    everything = browser.execute_script(SHOWN)
    browser.get("about:blank")
    browser.get(page + fragment)
    assert browser.get_log("browser") == []
    assert browser.execute_script(SHOWN) == everything
    assert browser.execute_script("return document.images.length + document.scripts.length") == 2
    assert browser.execute_script("return document.documentElement.dataset.theme") is None


def test_the_keyboard_alone_filters(browser: Chrome, page: str):
    def keys(*pressed: str) -> None:
        ActionChains(browser).send_keys(*pressed).perform()

    def focused() -> str:
        return browser.execute_script("return document.activeElement.textContent.trim()")

    for _ in range(40):
        keys(Keys.TAB)
        if focused() == "Task":
            break
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.execute_script(outline) == "solid"
    keys(Keys.ENTER)
    keys(Keys.TAB)
    keys(Keys.SPACE)
    assert names(browser, 0) == {"breastmnist"}
    keys(Keys.ESCAPE)
    assert focused() == "Task (1)"
    assert not browser.execute_script("return document.querySelector('.facets details').open")


def test_a_row_names_the_records_behind_it(browser: Chrome, page: str, hostile_page: Path):
    click(browser, "#leaderboard-1 .records summary")
    files = browser.find_element("css selector", "#leaderboard-1 .records code").text.split()
    assert len(files) == 3 and all((hostile_page.parent.parent / file).is_file() for file in files)


def test_the_link_can_be_copied_or_is_in_the_address_bar(browser: Chrome, page: str):
    click(browser, "#copy")
    said = WebDriverWait(browser, 60).until(lambda _: browser.find_element("id", "copied").text)
    assert said in ("Link copied", "The link is in the address bar")
