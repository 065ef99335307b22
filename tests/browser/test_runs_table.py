"""The runs table in a real browser: columns, order, ticks, and deletion that can be undone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, Route

from tests.browser.conftest import Server
from tests.browser.kit import open_run, send

pytestmark = pytest.mark.browser


def three_runs(server: Server) -> None:
    for number, rate in enumerate((0.1, 0.01, 0.3)):
        open_run(server, f"run-{number}", name=f"run {number}", config={"lr": rate})
        send(server, 0, {"loss": [2.0, 1.0 + number]}, run_id=f"run-{number}")


def names(page: Page) -> list[str]:
    return page.locator("tbody .run-row__name > :first-child").all_inner_texts()


def test_a_column_of_the_config_is_added_and_sorted_by(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    three_runs(server)
    page.goto(server.url)
    page.locator("#columns summary").click()
    page.locator("#more-columns").get_by_label("lr").check()
    eventually(lambda: page.locator("thead").get_by_role("link", name="lr").count())
    page.keyboard.press("Escape")
    page.locator("thead").get_by_role("link", name="lr").click()
    eventually(lambda: names(page) == ["run 1", "run 0", "run 2"])
    page.locator("thead").get_by_role("link", name="lr").click()
    eventually(lambda: names(page) == ["run 2", "run 0", "run 1"])
    page.reload()
    assert names(page) == ["run 2", "run 0", "run 1"]


def test_ticked_runs_are_deleted_together_and_brought_back(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    three_runs(server)
    page.goto(server.url + "/?sort=name")
    page.get_by_label("Tick run 0").check()
    page.get_by_label("Tick run 2").check()
    page.locator("[data-selection]").get_by_role("button", name="Delete").click()
    eventually(lambda: names(page) == ["run 1"])
    page.get_by_role("button", name="Undo").click()
    eventually(lambda: names(page) == ["run 0", "run 1", "run 2"])


def test_a_run_deleted_on_its_own_page_is_shown_where_it_can_be_brought_back(
    server: Server, browser: Browser, eventually: Callable[..., None]
) -> None:
    three_runs(server)
    page = browser.new_page()  # in which Chromium may complain of a 404: the page asked for more before the deletion
    try:
        page.goto(f"{server.url}/runs/run-1")
        page.get_by_label("Actions for run 1").click()
        page.get_by_role("button", name="Delete").click()
        page.wait_for_url("**/?shelf=deleted")
        assert names(page) == ["run 1"]
        page.get_by_label("Actions for run 1").click()
        page.get_by_role("button", name="Restore").click()
        eventually(lambda: names(page) == [])
    finally:
        page.close()


def test_a_run_is_renamed_and_tagged_by_keyboard(server: Server, page: Page, eventually: Callable[..., None]) -> None:
    three_runs(server)
    page.goto(server.url + "/?sort=name")
    page.keyboard.press("j")
    assert page.evaluate("() => document.activeElement.textContent") == "run 0"
    page.get_by_label("Actions for run 0").press("Enter")
    page.get_by_role("button", name="Name and tags…").press("Enter")
    page.get_by_label("Name", exact=True).fill("the best")
    page.get_by_label("Tags, separated by commas").fill("night, good")
    page.keyboard.press("Enter")
    eventually(lambda: "the best" in names(page))
    assert page.locator(".tag").all_inner_texts() == ["night", "good"]


def test_a_long_name_of_a_project_does_not_widen_a_narrow_page(server: Server, page: Page) -> None:
    open_run(server, "long", name="run " + "very-long-" * 30, project="p" * 80)
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(server.url)
    assert page.evaluate("document.documentElement.scrollWidth") == 400


def test_the_selectors_of_the_charts_stand_in_one_row_on_a_phone_and_only_where_charts_are(
    server: Server, page: Page
) -> None:
    three_runs(server)
    open_run(server, "checked", name=None, preflight=True)
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(f"{server.url}/runs/run-1")
    tops = "() => [...document.querySelectorAll('#look select')].map((one) => one.getBoundingClientRect().top)"
    assert len(set(page.evaluate(tops))) == 1
    page.goto(f"{server.url}/runs/checked")
    assert not page.locator("#look").is_visible()


def test_what_is_typed_before_the_scripts_are_there_counts(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    three_runs(server)
    held: list[Route] = []
    page.route("**/static/js/main.js", lambda route: held.append(route))
    page.goto(server.url, wait_until="commit")
    page.get_by_role("searchbox").first.fill("run 1")
    eventually(lambda: held)
    held[0].continue_()
    page.wait_for_url("**/?search=run+1")
    eventually(lambda: names(page) == ["run 1"])


def test_columns_are_remembered_and_a_link_with_columns_of_its_own_keeps_them(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    three_runs(server)
    page.goto(server.url)
    page.locator("#columns summary").click()
    page.locator("#more-columns").get_by_label("lr").check()
    eventually(lambda: page.locator("thead").get_by_role("link", name="lr").count())
    page.goto(server.url + "/rules")
    page.get_by_role("link", name="Runs", exact=True).click()
    page.wait_for_url("**/?col=config.lr")
    assert page.locator("thead").get_by_role("link", name="lr").count() == 1
    page.goto(server.url + "/?col=last.loss")
    assert page.locator("thead").get_by_role("link", name="lr").count() == 0
    page.goto(server.url + "/?sort=name")
    page.wait_for_url("**/?sort=name&col=config.lr")
    page.locator("#columns summary").click()
    page.locator("#columns").get_by_label("lr").uncheck()
    page.wait_for_url("**/?sort=name")
    page.goto(server.url)
    eventually(lambda: names(page))
    assert page.url == server.url + "/"


def test_more_runs_than_can_be_compared_are_told_so(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    for number in range(22):
        open_run(server, f"run-{number}", name=f"run {number}")
    page.goto(server.url)
    page.get_by_label("Tick all runs on this page").check()
    assert page.locator("[data-selection]").inner_text().startswith("22 ticked")
    assert page.get_by_text("Compare takes up to 20").is_visible()
    page.get_by_label("Tick run 3", exact=True).uncheck()
    page.get_by_label("Tick run 4", exact=True).uncheck()
    assert page.locator("[data-bulk=compare]").is_visible()
    assert not page.get_by_text("Compare takes up to 20").is_visible()


def test_many_columns_and_long_names_of_them_scroll_beside_the_names_of_the_runs(server: Server, page: Page) -> None:
    key = "a_very_long_key_" * 8
    three_runs(server)
    page.set_viewport_size({"width": 1360, "height": 800})
    page.goto(server.url + "/?" + "&".join(f"col=config.{key}{number}" for number in range(12)))
    assert page.evaluate("document.documentElement.scrollWidth") == 1360
    head = page.locator("thead th", has_text=key).first
    assert head.evaluate("(one) => one.getBoundingClientRect().width") < 260
    assert head.locator("a").get_attribute("title") == f"{key}0: from the config"
    page.locator(".runs-frame").evaluate("(one) => one.scrollTo(9999, 0)")
    assert page.locator(".run-row__name").first.evaluate("(one) => one.getBoundingClientRect().left") < 60
