"""Every page, light and dark, on a phone, at twice its size and on a desk: whole, readable and accessible."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import stage
from tests.browser.looks import LOOKS, assert_it_fits
from tests.serving import Server

pytestmark = pytest.mark.browser

AXE = Path(__file__).parent / "vendor" / "axe-core-4.14.1.min.js"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
WATCH_POLICY = """() => {
  window.policyReports = [];
  const keep = (event) => window.policyReports.push(`${event.violatedDirective} ${event.blockedURI}`);
  document.addEventListener("securitypolicyviolation", keep);
}"""
DRAWN = """() => [...document.querySelectorAll("[data-chart]")].every((chart) => {
  const box = chart.getBoundingClientRect();
  const far = box.bottom < -200 || box.top > innerHeight + 200 || !box.height;
  return far || !chart.querySelector(".chart-says--loading");
})"""
SERIOUS = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
  .filter((one) => ["serious", "critical"].includes(one.impact))
  .map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" || ")}`)"""


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the runs of the stage."""
    started = Server(tmp_path_factory.mktemp("stage") / "home")
    stage.fill(started)
    yield started
    started.stop()


def visit(browser: Browser, theme: Any, width: int, motion: Any = "no-preference") -> Page:
    """Opens a page that collects what the content security policy forbids."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion=motion)
    page.add_init_script(f"({WATCH_POLICY})()")
    return page


def settle(page: Page, url: str, eventually: Callable[..., None]) -> None:
    """Goes to a page and waits until the charts in sight are drawn."""
    page.goto(url)
    page.locator("h1, h2").first.wait_for()
    eventually(lambda: page.evaluate(DRAWN))


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_x5_every_page_fits_its_screen_keeps_the_policy_and_has_no_serious_barrier(
    full: Server, browser: Browser, eventually: Callable[..., None], theme: str, width: int
) -> None:
    source = AXE.read_text("utf-8")
    assert hashlib.sha256(source.encode()).hexdigest() == AXE_SHA256
    page = visit(browser, theme, width)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    barriers: dict[str, list[str]] = {}
    for path in stage.PAGES:
        settle(page, full.url + path, eventually)
        assert_it_fits(page, width, path)
        assert page.evaluate("() => window.policyReports") == [], path
        page.evaluate(source)
        barriers[path] = page.evaluate(SERIOUS)
    page.close()
    assert errors == []
    assert {path: found for path, found in barriers.items() if found} == {}


def test_nothing_moves_for_a_reader_who_wants_it_still(
    full: Server, browser: Browser, eventually: Callable[..., None]
) -> None:
    page = visit(browser, "light", 1440, motion="reduce")
    for path in ("/", f"/runs/{stage.SICK}"):
        settle(page, full.url + path, eventually)
        assert page.evaluate("() => document.getAnimations().filter((one) => one.playState === 'running').length") == 0
    page.close()


def test_the_first_page_load_is_light(full: Server, browser: Browser, eventually: Callable[..., None]) -> None:
    page = visit(browser, "light", 1440)
    client = page.context.new_cdp_session(page)
    client.send("Network.enable")
    sizes: list[float] = []
    client.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    settle(page, f"{full.url}/runs/{stage.SICK}", eventually)
    page.close()
    assert sum(sizes) < 700_000


@pytest.mark.parametrize("path", [f"/runs/{stage.SICK}", f"/compare?run={stage.SICK}&run={stage.ODD}"])
def test_every_chart_in_sight_says_in_words_what_it_shows(
    full: Server, browser: Browser, eventually: Callable[..., None], path: str
) -> None:
    page = visit(browser, "light", 1440)
    settle(page, full.url + path, eventually)
    eventually(lambda: page.locator(".plot").count() >= 2)
    labels = [chart.get_attribute("aria-label") or "" for chart in page.locator("[data-chart]:has(.plot)").all()]
    assert all("lowest" in label and "highest" in label for label in labels), labels
    page.close()
