"""The preflight page in a real browser: whole, readable, accessible, within the policy; light and dark, on a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.kit import open_run, send
from tests.browser.test_every_page import AXE, SERIOUS, visit
from tests.server.web.test_pages_preflight import LEFT_OUT, RESULTS, record
from tests.serving import Server

pytestmark = pytest.mark.browser

CHECKED, BARE = "checked", "bare"
LONG = "blocks.11.attention.self.query_key_value.weight"
WIDE = {**RESULTS[0], "code": "GW301", "name": "param-no-grad", "layers": [f"{LONG}.{part}" for part in range(30)]}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a run that was checked, and one that was not."""
    started = Server(tmp_path_factory.mktemp("preflight") / "home")
    results = [*RESULTS, WIDE]
    told = [{**item, "curves": sorted(item.get("curves", {}))} for item in results]
    fact = {"results": told, "left_out": LEFT_OUT, "seconds": 4.5, "worst": "error", "run": ""}
    open_run(started, CHECKED, name="checked run")
    send(started, 0, {"loss": [2.0, 1.5, 1.2], "val/accuracy": [0.2, 0.4, 0.5]}, run_id=CHECKED,
         records=(*(record("event", item) for item in results), record("fact", fact)))  # fmt: skip
    open_run(started, BARE, name="bare run")
    send(started, 0, {"loss": [2.0]}, run_id=BARE)
    yield started
    started.stop()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_it_fits_its_screen_keeps_the_policy_and_has_no_barrier(
    full: Server, browser: Browser, theme: str, width: int
) -> None:
    page = visit(browser, theme, width)
    for run, wanted in ((CHECKED, 6), (BARE, 0)):
        page.goto(f"{full.url}/runs/{run}/preflight")
        page.locator("h2").first.wait_for()
        assert page.locator("[data-check]").count() == wanted
        for folded in page.locator("details").all():
            folded.evaluate("one => { one.open = true; }")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        assert page.evaluate("() => window.policyReports") == []
        page.evaluate(AXE.read_text("utf-8"))
        assert page.evaluate(SERIOUS) == []
    page.close()


def test_an_error_has_the_colour_of_errors(full: Server, browser: Browser) -> None:
    page = visit(browser, "light", 1440)
    page.goto(f"{full.url}/runs/{CHECKED}/preflight")
    colour = "(one) => getComputedStyle(one).color"
    error = page.locator(".preflight__head .severity--error").first.evaluate(colour)
    red = page.evaluate("""() => {
        const probe = document.body.appendChild(document.createElement("i"));
        probe.style.color = "var(--severity-error)";
        return getComputedStyle(probe).color;
    }""")
    assert error == red
    page.close()


def test_the_outcomes_are_links_that_the_keyboard_reaches(full: Server, browser: Browser) -> None:
    page = visit(browser, "light", 1440)
    page.goto(f"{full.url}/runs/{CHECKED}/checklist")
    page.get_by_role("link", name="See the preflight").first.click()
    page.wait_for_url("**/preflight#GW*")
    page.get_by_role("link", name="left out").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/preflight?outcome=left-out")
    assert page.locator("[data-check]").evaluate_all("all => all.map((one) => one.dataset.check)") == ["GW101"]
    picture = page.goto(f"{full.url}/runs/{CHECKED}/preflight") and page.get_by_role("img").first
    assert "steepest 0.001" in (picture.get_attribute("aria-label") or "")
    page.close()


def test_the_loss_chart_of_the_run_shows_the_simple_models(full: Server, browser: Browser) -> None:
    page = visit(browser, "dark", 1440)
    page.goto(f"{full.url}/runs/{CHECKED}")
    chart = page.locator("#chart-loss")
    chart.get_by_text("a linear model").first.wait_for()
    chart.get_by_text("your network is still worse than a linear model").wait_for()
    assert page.evaluate("() => window.policyReports") == []
    page.close()
