"""The main job: two lines in a loop, watched live in a browser, without a reload."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Server

pytestmark = pytest.mark.browser

DRAWN_POINTS = """() => {
  const chart = document.querySelector('[data-chart="loss"]');
  const plot = chart && chart.querySelector('.js-plotly-plot');
  const steps = plot ? plot.data.flatMap(trace => Array.from(trace.x || [], Number).filter(Number.isFinite)) : [];
  return Math.max(0, ...steps);
}"""


@pytest.mark.timeout(240)
def test_the_loss_grows_and_a_finding_appears_on_the_sick_twin_alone(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    sick = server.train("digits.py", "--sick", "--epochs", "14", "--pause", "0.03")
    healthy = server.train("digits.py", "--epochs", "40")  # as long as the demo's, in the pauses of the sick one
    page.goto(server.url)
    eventually(lambda: page.get_by_role("link", name="digits, sick twin").count())
    page.get_by_role("link", name="digits, sick twin").first.click()
    page.wait_for_url("**/runs/**")
    page.evaluate("() => { window.neverReloaded = true }")

    eventually(lambda: page.evaluate(DRAWN_POINTS) > 10)
    first = page.evaluate(DRAWN_POINTS)
    eventually(lambda: page.evaluate(DRAWN_POINTS) > first + 20)
    eventually(
        lambda: page.locator("[data-finding='GW202']").count() and page.locator("[data-finding='GW304']").count()
    )
    assert "softmax" in page.locator("[data-finding='GW202']").first.inner_text().lower()
    assert page.evaluate("() => window.neverReloaded") is True
    assert sick.wait(timeout=120) == 0
    eventually(lambda: "finished" in page.locator("[data-run-state]").first.inner_text().lower())
    assert page.evaluate("() => window.neverReloaded") is True

    page.goto(server.url)
    eventually(lambda: page.get_by_role("link", name="digits, healthy twin").count())
    page.get_by_role("link", name="digits, healthy twin").first.click()
    page.wait_for_url("**/runs/**")
    assert healthy.wait(timeout=120) == 0
    eventually(lambda: page.locator("[data-diagnosis='final']").count())
    assert page.locator("[data-severity='warning'], [data-severity='error']").count() == 0
