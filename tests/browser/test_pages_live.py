"""The pages in a real browser: they fill by themselves, keep what the reader does, and fit a narrow screen.

What a training sends is only ever text in them.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import Server
from tests.browser.kit import open_run, post, send
from tests.server.house import RUN

pytestmark = pytest.mark.browser

EVIL = "<script>alert(1)</script>{{ 7 * 7 }}<img src=x onerror=alert(1)>"
NARROW = {"width": 400, "height": 800}


def test_the_runs_table_fills_without_a_reload(server: Server, page: Page, eventually: Callable[..., None]) -> None:
    page.goto(server.url)
    assert page.get_by_text("from client_hook import watch").is_visible()
    page.evaluate("() => { window.neverReloaded = true }")
    open_run(server)
    eventually(lambda: page.get_by_role("link", name="baseline").count())
    send(server, 0, {"loss": [2.0, 1.0, 0.5]})
    eventually(lambda: page.locator(".spark").count())
    assert page.evaluate("() => window.neverReloaded") is True


def test_typing_into_the_search_keeps_the_focus_and_writes_the_address(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    open_run(server)
    open_run(server, "another", name="second")
    page.goto(server.url)
    page.get_by_placeholder("Search").press_sequentially("base")
    eventually(lambda: page.evaluate("() => location.href") == f"{server.url}/?search=base")
    eventually(lambda: page.locator("tbody tr").count() == 1)
    assert page.evaluate("() => document.activeElement.name") == "search"
    page.reload()
    assert page.locator("tbody tr").count() == 1


def test_the_head_of_a_run_follows_the_training(server: Server, page: Page, eventually: Callable[..., None]) -> None:
    open_run(server)
    page.goto(f"{server.url}/runs/{RUN}")
    page.locator("[data-verdict]").wait_for()
    send(server, 0, {"loss": [2.0] * 12})
    eventually(lambda: "12 steps" in page.locator("#head").inner_text())
    send(server, 1, {"loss": [2.0], "my own number": [1.0]}, first_step=12)
    eventually(lambda: page.locator("figure", has_text="my own number").count())


def test_a_run_that_is_deleted_while_its_page_is_open_says_so(server: Server, browser: Browser) -> None:
    page = browser.new_page()  # in which Chromium may complain of a 404
    open_run(server)
    page.goto(f"{server.url}/runs/{RUN}")
    page.locator("[data-verdict]").wait_for()
    post(server, "/api/v1/runs/changes", json.dumps({"ids": [RUN], "deleted": True}).encode(), "application/json")
    page.get_by_text("was deleted; it can be brought back").wait_for()
    page.close()


def test_a_process_of_a_training_is_chosen_for_all_charts_and_stands_in_the_address(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    for rank, losses in enumerate(([2.0, 1.0], [3.0, 4.0, 5.0])):
        open_run(server, rank=rank)
        send(server, 0, {"loss": losses}, rank=rank)
    page.goto(f"{server.url}/runs/{RUN}")
    loss = page.locator("figure#chart-loss [data-chart]")
    eventually(lambda: "Up to step 1" in (loss.get_attribute("aria-label") or loss.inner_text()))
    page.get_by_label("Process").select_option("rank 1")
    eventually(lambda: "Up to step 2" in (loss.get_attribute("aria-label") or loss.inner_text()))
    eventually(lambda: "rank=1" in (page.locator("figure#chart-loss a.tool").get_attribute("href") or ""))
    page.reload()
    assert page.get_by_label("Process").input_value() == "1"
    eventually(lambda: "Up to step 2" in (loss.get_attribute("aria-label") or loss.inner_text()))


def test_a_finding_is_acknowledged_by_keyboard_and_the_focus_stays(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    open_run(server)
    send(server, 0, {"loss": [2.0, 1.5, float("nan"), float("nan")]})
    page.goto(f"{server.url}/runs/{RUN}")
    eventually(lambda: page.locator("[data-finding]").count())
    button = page.locator("[data-field='acknowledged']").first
    button.focus()
    page.keyboard.press("Enter")
    eventually(lambda: button.get_attribute("aria-pressed") == "true")
    assert page.evaluate("() => document.activeElement.dataset.field") == "acknowledged"
    page.reload()
    assert page.locator("[data-field='acknowledged']").first.inner_text() == "Acknowledged"


@pytest.mark.parametrize("path", ["/", f"/runs/{RUN}", f"/runs/{RUN}/checklist", "/rules", "/rules/GW308"])
def test_a_narrow_page_does_not_scroll_sideways_and_runs_no_foreign_text(server: Server, page: Page, path: str) -> None:
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    open_run(server, name=EVIL, tags=[EVIL], config={EVIL: EVIL * 5})
    send(server, 0, {"loss": [2.0, 1.0], EVIL: [1.0, 1.0], f"act/std/{EVIL}": [1.0, 1.0]})
    page.set_viewport_size({"width": NARROW["width"], "height": NARROW["height"]})
    page.goto(server.url + path)
    page.locator("h1").first.wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= NARROW["width"]
    assert page.locator("img").count() == 0
    assert dialogs == []


def test_the_first_stop_of_the_keyboard_leads_to_the_content(server: Server, page: Page) -> None:
    page.goto(server.url)
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "content"
