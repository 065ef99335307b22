"""From forty runs to what made the difference, and back to the runs of one value, with the mouse alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Server
from tests.browser.kit import open_run, send

pytestmark = pytest.mark.browser
SHOWN = """() => document.querySelector("[id=overlay-loss] .plot").data
  .filter(({ visible }) => visible !== false && visible !== "legendonly").length"""


def sweep(server: Server) -> None:
    for number, (rate, width) in enumerate(product((0.01, 0.1, 1.0), (8, 16, 32))):
        reached = {0.01: 2.0, 0.1: 0.5, 1.0: 1.0}[rate] - width / 1_000
        open_run(server, f"run-{number}", name=f"run {number}", config={"lr": rate, "width": width})
        send(server, 0, {"loss": [3.0, reached], "val/loss": [3.0, reached]}, run_id=f"run-{number}")


def names(page: Page) -> list[str]:
    return page.locator("tbody .run-row__name > :first-child").all_inner_texts()


def test_the_setting_that_matters_leads_to_its_runs_and_a_dot_to_a_run(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    sweep(server)
    page.goto(server.url + "/?sort=name")
    page.get_by_role("link", name="Settings against results").click()
    page.wait_for_url("**/sweep?sort=name")
    assert page.locator(".sweep h2").all_inner_texts()[0] == "lr"
    assert page.locator("tbody th").first.inner_text() == "run 5"
    page.locator(".sweep").first.get_by_role("link", name="0.1", exact=True).click()
    eventually(lambda: names(page) == ["run 3", "run 4", "run 5"])
    page.locator(".tag--chosen").click()
    eventually(lambda: len(names(page)) == 9)
    page.go_back()
    page.go_back()
    page.locator(".sweep").first.locator(".scatter__dot--best").click()
    page.wait_for_url("**/runs/run-5")
    page.go_back()
    page.locator(".parallel__line--best").dispatch_event("click")
    page.wait_for_url("**/runs/run-5")


def test_a_condition_is_typed_or_clicked_and_stays_while_the_table_changes(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    sweep(server)
    page.goto(server.url + "/?sort=name&col=config.width")
    page.get_by_title("Only runs with width = 16").first.click()
    eventually(lambda: names(page) == ["run 1", "run 4", "run 7"])
    page.get_by_role("searchbox").first.fill("min.val/loss<1.5")
    eventually(lambda: names(page) == ["run 4", "run 7"] and "search=min.val" in page.url)
    page.reload()
    assert names(page) == ["run 4", "run 7"]


def test_curves_of_runs_are_taken_together_by_a_setting(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    sweep(server)
    page.goto(server.url + "/sweep")
    page.locator(".sweep").first.get_by_role("link", name="Curves").click()
    page.wait_for_url("**/compare?*group=config.lr")
    loss = page.locator("[id=overlay-loss]")
    eventually(
        lambda: loss.locator(".chart-legend__name").all_inner_texts() == ["lr 0.01 (3)", "lr 0.1 (3)", "lr 1 (3)"]
    )
    page.get_by_label("Lines").select_option("mean by width")
    eventually(lambda: loss.locator(".chart-legend__name").first.inner_text() == "width 8 (3)")
    loss.locator(".chart-legend__name").first.click()
    eventually(lambda: page.evaluate(SHOWN) == 4)  # a mean and its band are hidden together
    page.get_by_label("Lines").select_option("each run")
    eventually(lambda: loss.locator(".chart-legend__name").count() == 0)
    assert "group" not in page.url
