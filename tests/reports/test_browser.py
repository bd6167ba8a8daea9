"""The page in a real browser: no error, no request, no overflow, legible in both themes and on paper."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

EVIL = "<img src=x onerror=alert(1)>"
Screen = Callable[..., None]
CONTRASTS = """
const parse = color => color.match(/[\\d.]+/g).map(Number);
const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const shares = [.2126, .7152, .0722];
const light = color => shares.reduce((sum, share, i) => sum + share * linear(color[i] / 255), 0);
const behind = element => {
  const color = parse(getComputedStyle(element).backgroundColor);
  return color.length > 3 && color[3] === 0 ? behind(element.parentElement) : color;
};
return arguments[0].flatMap(name => [...document.querySelectorAll(name)].slice(0, 3).map(element => {
  const pair = [light(parse(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
  return [name, (pair[0] + .05) / (pair[1] + .05)];
}));
"""
TEXTS = [
    "h1", ".sure", ".doubt", ".next", ".tally li", ".notice", "nav a", ".answer p", ".answer a", ".lead",
    ".filters button", ".views label", ".facets summary", "#shown", ".legend button", ".verdict button",
    ".drawing text", ".drawers summary", ".tools button",
    "thead button", "tbody th", "td", ".sd", "td small", "figcaption", "footer",
]  # fmt: skip


def asked(browser: Chrome) -> list[str]:
    """The addresses that the page asked for since the last look."""
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def overflow(browser: Chrome) -> int:
    """CSS pixels by which the page is wider than the window."""
    return browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (360, "light")])
def test_the_page_opens_without_errors_requests_or_overflow(
    browser: Chrome, hostile_page: Path, screen: Screen, width: int, scheme: str
):
    screen(width, scheme)
    asked(browser)  # forget what the pages before asked for
    browser.get(hostile_page.as_uri())
    assert browser.get_log("browser") == []
    assert all(url.startswith(("data:", hostile_page.as_uri())) for url in asked(browser))
    assert overflow(browser) <= 0
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(", "))) < 200) == (scheme == "dark")


def test_a_hostile_name_stays_text(browser: Chrome, hostile_page: Path, screen: Screen):
    browser.get(hostile_page.as_uri())
    assert browser.execute_script("return document.images.length") == 0
    assert EVIL in browser.execute_script("return document.querySelector('#filters').textContent")
    assert EVIL in browser.execute_script("return document.querySelector('table').textContent")


@pytest.mark.parametrize("part", ["#filters", ".drawers", "#leaderboard", "#cost", "#problems"])
def test_a_phone_shows_all_of_a_part_with_everything_open(
    browser: Chrome, hostile_page: Path, screen: Screen, part: str
):
    screen(360)
    browser.get(hostile_page.as_uri())
    browser.execute_script(
        "document.querySelector('#more').click();"
        f"for (const folded of document.querySelectorAll('{part} details')) folded.open = true"
    )
    assert overflow(browser) <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_is_legible_in_both_themes(
    browser: Chrome, hostile_page: Path, screen: Screen, scheme: str
):
    screen(1280, scheme)
    browser.get(hostile_page.as_uri())
    browser.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    browser.get(f"{hostile_page.as_uri()}#init=mednet")  # the bar then counts the rows
    found = browser.execute_script(CONTRASTS, TEXTS)
    assert {name for name, _ in found} == set(TEXTS)
    assert [(name, ratio) for name, ratio in found if ratio < 4.5] == []  # WCAG 2, level AA


def test_the_theme_can_be_chosen_and_is_in_the_link(browser: Chrome, hostile_page: Path, screen: Screen):
    paper = "return getComputedStyle(document.body).backgroundColor"
    browser.get(hostile_page.as_uri())
    light = browser.execute_script(paper)
    browser.execute_script("document.querySelector('#theme').click()")
    dark = browser.execute_script(paper)
    assert dark != light and "theme=dark" in browser.current_url
    link = browser.current_url
    browser.get("about:blank")
    browser.get(link)
    assert browser.execute_script(paper) == dark
    screen(1280, "dark", "print")
    assert browser.execute_script(paper) == "rgb(255, 255, 255)"


def test_paper_shows_every_open_row_and_no_controls(browser: Chrome, hostile_page: Path, screen: Screen):
    browser.get(hostile_page.as_uri())
    screen(width=740, medium="print")  # A4 with its margins
    assert overflow(browser) <= 0
    hidden = (
        "return [...document.querySelectorAll('tbody tr, .panel')]"
        ".filter(i => !i.closest('details') && !i.matches('.explain') && !i.offsetHeight).length"
    )
    assert browser.execute_script(hidden) == 0
    for control in ("#filters button", ".views", ".tools", ".drawers summary"):
        assert not browser.execute_script(f"return document.querySelector('{control}').checkVisibility()")
    assert not browser.execute_script("return document.querySelector('.records code').checkVisibility()")


def test_paper_says_by_what_it_was_filtered(browser: Chrome, hostile_page: Path, screen: Screen):
    browser.get(f"{hostile_page.as_uri()}#init=mednet")
    screen(medium="print")
    said = " ".join(browser.find_element("id", name).text for name in ("filters", "filtered"))
    assert "Init: mednet" in said and "rows" in said and "Reset" not in said


def test_everything_is_shown_without_a_script(hostile_page: Path):
    content = hostile_page.read_text()
    body = content[content.index("<body") : content.index("<script")]
    assert '<div id="filters" class="filters" role="group" aria-label="Filter" hidden>' in body
    assert body.count(" hidden>") == 3 + body.count('<p class="nothing" hidden>')  # bar, its sentence, tip
