"""A reader's way through every page with two real trainings: light and dark, on a phone, a tablet and a desk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.looks import LOOKS, assert_it_fits
from tests.browser.test_every_page import DRAWN, visit
from tests.counts import FULL
from tests.serving import Server, wait_until

pytestmark = pytest.mark.browser

SICK, WELL = "digits, sick twin", "digits, healthy twin"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has watched a sick and a healthy training to their ends."""
    started = Server(tmp_path_factory.mktemp("journeys") / "home")
    trainings = [started.train("digits.py", "--epochs", "4", *extra) for extra in ((), ("--sick",))]
    assert [training.wait(timeout=200) for training in trainings] == [0, 0]
    wait_until(lambda: all(run["diagnosis"] == "final" for run in started.get("runs")["items"]), "the diagnoses")
    yield started
    started.stop()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("theme", "width"), LOOKS if FULL else LOOKS[:1])
def test_from_the_table_to_the_cause_and_back(
    trained: Server, browser: Browser, eventually: Callable[..., None], theme: str, width: int
) -> None:
    page = visit(browser, theme, width)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def arrived() -> None:
        eventually(lambda: page.evaluate(DRAWN))
        assert_it_fits(page, width, page.url)
        assert page.evaluate("() => window.policyReports") == [], page.url

    def drawn(chart: str) -> None:
        page.locator(chart).first.scroll_into_view_if_needed()
        eventually(lambda: page.locator(f"{chart} .plot").count())

    page.goto(trained.url)  # the table tells the two apart
    arrived()
    assert "error" in row(page, SICK).inner_text()
    assert "no problem" in row(page, WELL).inner_text()

    row(page, SICK).get_by_role("link", name=SICK).click()  # the cause, its proof, its rule
    page.wait_for_url("**/runs/*")
    drawn("[data-chart=loss]")
    arrived()
    cause = page.locator("[data-finding=GW202]").first
    assert "softmax is applied twice" in cause.inner_text()
    assert cause.locator("svg").count()
    cause.get_by_role("link", name="Why? GW202").click()
    page.wait_for_url("**/rules/GW202")
    arrived()
    page.go_back()

    page.get_by_role("link", name="Layers", exact=True).first.click()  # layer by layer
    page.wait_for_url("**/layers*")
    drawn("#chart-layers [data-chart]")
    page.locator("a[data-layer='head.1']").first.click()
    eventually(lambda: "head.1" in page.locator("[data-drawer-title]").inner_text())
    drawn("#drawer [data-chart]")
    arrived()

    page.get_by_role("link", name="Checklist", exact=True).first.click()
    page.wait_for_url("**/checklist")
    arrived()
    assert page.get_by_text("GW202").count()
    with page.expect_download() as download:
        page.get_by_role("link", name="Report").first.click()
    assert_report(download.value.path(), browser, width)

    page.goto(trained.url)  # both of them over each other
    for name in (SICK, WELL):
        row(page, name).locator("[data-tick]").check()
    page.locator("[data-bulk=compare]").click()
    page.wait_for_url("**/compare?*")
    drawn("#overlays [data-chart]")
    arrived()
    assert "sick" in page.locator("section").filter(has=page.locator("#settings")).inner_text()
    page.close()
    assert complaints == []


def row(page: Page, name: str) -> Any:
    """Gives the row of a run."""
    return page.locator("tbody tr").filter(has=page.get_by_role("link", name=name)).first


def assert_report(path: Path, browser: Browser, width: int) -> None:
    """Opens the report from the disk: the verdict is there, and nothing else is asked for."""
    offline = browser.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    offline.on("request", lambda request: asked.append(request.url))
    written = path.with_suffix(".html")
    written.write_bytes(path.read_bytes())
    offline.goto(written.as_uri())
    assert "no backward found the gradients cleared" in offline.locator(".strip").inner_text()
    assert offline.evaluate("() => document.documentElement.scrollWidth") <= width
    assert asked == [written.as_uri()]
    assert written.stat().st_size < 2_000_000
    offline.close()
