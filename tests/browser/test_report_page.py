"""The HTML report in a real browser: filter, search, keyboard, an explanation followed, no accessibility errors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_ebpf.report.html import render_html
from support.chromium import Page, find_chromium, open_page
from support.paths import ROOT
from support.report_runs import large_run, small_run

AXE = ROOT / ".ci-state" / "axe.min.js"  # ci/test puts it there, from npm
SCREENSHOTS = os.environ.get("SCREENSHOTS")  # a directory, for people who want to look
pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium in PATH: apt-get install chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with open_page(find_chromium() or "", profile=tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "index.html"
    path.write_text(render_html(large_run()), encoding="utf-8")
    return path


def shown(page: Page) -> int:
    return int(page.js("[...document.querySelectorAll('tr.test')].filter(row => row.checkVisibility()).length"))


def test_filter_and_search(browser: Page, large: Path) -> None:
    browser.show(large, width=1200, height=900)
    assert browser.js("document.getElementById('filter').value") == "bad", "a red run opens with what is red"
    assert shown(browser) == 20
    browser.js("filter.value = ''; filter.dispatchEvent(new Event('change'))")
    assert shown(browser) == 200
    browser.js("filter.value = 'skipped'; filter.dispatchEvent(new Event('change'))")
    assert shown(browser) == 14
    browser.js("filter.value = ''; search.value = 'CASE_19'; search.dispatchEvent(new Event('input'))")
    assert shown(browser) == 11
    assert browser.js("document.getElementById('shown').textContent") == "11 of 200 tests"


def test_by_keyboard_alone(browser: Page, large: Path) -> None:
    browser.show(large, width=1200, height=900)
    browser.press("/")
    assert browser.js("document.activeElement.id") == "search"
    for _ in range(4):  # the filter, the scrolled region, its first cell
        browser.press("Tab")
        if browser.js("document.activeElement.classList.contains('cell')"):
            break
    browser.press("ArrowRight")
    browser.press("ArrowDown")
    browser.press("Enter")
    assert browser.js("document.getElementById('d-title').textContent") == "test_case_13[a_parameter_6] on 6.1"
    assert browser.js("document.querySelector('#d-body details[open] pre').textContent") == "packet-bounds <safety>"
    browser.press("Escape")
    assert not browser.js("dialog.open")


def test_an_explanation_leads_to_the_source_line(browser: Page, large: Path) -> None:
    browser.show(large, width=1200, height=900)
    browser.js("document.querySelector('.cell.failed').click()")
    assert browser.js("location.hash").startswith("#result-")
    browser.js("document.querySelector('.source-link').click()")
    assert not browser.js("dialog.open")
    assert browser.js("document.querySelector('tr:target').dataset.place") == "fw.bpf.c:11"
    assert browser.js("document.querySelector('tr:target').checkVisibility()")


def test_a_link_opens_the_result(browser: Page, large: Path, tmp_path: Path) -> None:
    browser.show(large, width=1200, height=900)
    browser.call("Page.navigate", url=large.as_uri() + "#result-0")
    browser.show(large, width=1200, height=900)
    browser.js("show(0)")
    assert browser.js("dialog.open")
    assert browser.js("document.getElementById('d-state').textContent") == "passed, 0.25 s"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "desktop"])
def test_no_accessibility_errors(browser: Page, tmp_path: Path, width: int, dark: bool) -> None:
    if not AXE.exists():
        pytest.skip(f"no axe-core: {AXE} does not exist; ci/axe gets it with npm")
    page = tmp_path / "index.html"
    page.write_text(render_html(small_run()), encoding="utf-8")
    browser.show(page, width=width, height=800, dark=dark, phone=width < 500)
    assert browser.js("document.documentElement.scrollWidth") <= width, "nothing is wider than the window"
    browser.js(AXE.read_text(encoding="utf-8") + "; 1")
    browser.js("for (const one of document.querySelectorAll('details')) one.open = true")
    for opened in (False, True):
        if opened:
            browser.js("document.querySelector('.cell.failed').click()")
        if SCREENSHOTS:
            browser.screenshot(Path(SCREENSHOTS) / f"{width}-{'dark' if dark else 'light'}-{int(opened)}.png")
        found = browser.js("axe.run().then(result => JSON.stringify(result.violations))")
        problems = [(one["id"], [node["html"] for node in one["nodes"]]) for one in json.loads(found)]
        assert problems == []
