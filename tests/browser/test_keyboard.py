"""The five main jobs without a mouse: find a run, read and acknowledge its finding, look closely at a chart, compare,
look a rule up.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import stage
from tests.browser.kit import open_run, send
from tests.server.house import RUN
from tests.serving import Server

pytestmark = pytest.mark.browser


@pytest.fixture
def full(server: Server) -> Server:
    """A server with the runs of the stage."""
    stage.fill(server)
    return server


def focused(page: Page, what: str) -> str:
    return str(page.evaluate(f"() => String(document.activeElement?.{what} ?? '')"))


def tab_to(page: Page, matches: Callable[[], bool], most: int = 200) -> None:
    """Presses Tab until the focus is there."""
    for _ in range(most):
        if matches():
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no way there by Tab; the focus is on {focused(page, 'outerHTML')[:200]}")


def test_the_five_main_jobs_need_no_mouse(full: Server, page: Page, eventually: Callable[..., None]) -> None:
    page.goto(full.url)

    page.keyboard.press("/")  # find a run
    page.keyboard.type("sick")
    eventually(lambda: page.locator("tbody tr").count() == 1)
    tab_to(page, lambda: focused(page, "textContent") == "sick run")
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/sick*")

    page.keyboard.press("j")  # read its first finding, and acknowledge it
    eventually(lambda: "GW601" in focused(page, "dataset.finding"))
    tab_to(page, lambda: focused(page, "dataset.field") == "acknowledged")
    page.keyboard.press("Enter")
    eventually(lambda: focused(page, "ariaPressed") == "true")

    tab_to(page, lambda: focused(page, "dataset.chart") == "loss")  # look closely at the loss
    eventually(lambda: page.locator("[data-chart=loss] .plot").count())
    page.keyboard.press("ArrowRight")
    eventually(lambda: "step 0: loss" in page.locator("[data-chart=loss] [data-read-out]").inner_text())
    height = "() => document.querySelector('[data-chart=loss] .main-svg').getBoundingClientRect().height"
    small = page.evaluate(height)
    page.keyboard.press("f")  # in full screen it fills the screen
    eventually(lambda: page.evaluate(height) > 1.5 * small)
    page.keyboard.press("f")
    eventually(lambda: page.evaluate(height) == small)
    page.keyboard.press("+")
    eventually(lambda: "from=" in page.url)
    assert page.locator("[data-zoomed]").is_visible()
    page.keyboard.press("z")
    eventually(lambda: "from=" not in page.url)

    page.keyboard.press("g")  # compare it with another
    page.keyboard.press("r")
    page.wait_for_url(full.url + "/")
    for name in ("sick run", "odd run"):
        while focused(page, "textContent") != name:
            page.keyboard.press("j")
        page.keyboard.press("x")
        page.keyboard.press("Home")
        page.evaluate("() => document.activeElement.blur()")
    tab_to(page, lambda: focused(page, "dataset.bulk") == "compare")
    page.keyboard.press("Enter")
    page.wait_for_url("**/compare?*")
    assert sorted(page.locator(".legend__run > a:first-of-type").all_inner_texts()) == ["odd run", "sick run"]

    page.keyboard.press("g")  # look a rule up
    page.keyboard.press("u")
    page.wait_for_url("**/rules")
    page.keyboard.press("/")
    page.keyboard.type("relu units")
    eventually(lambda: page.locator("[data-rule]:visible").count() == 1)
    tab_to(page, lambda: focused(page, "textContent") == "dead-relu")
    page.keyboard.press("Enter")
    page.wait_for_url("**/rules/GW308")


def test_what_is_typed_is_searched_in_the_whole_catalogue(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    page.goto(server.url + "/rules?find=GW202")
    assert page.locator("[data-rule]").count() == 1
    page.get_by_role("searchbox").fill("my loss does not go down")
    eventually(lambda: page.get_by_role("heading", name="Fits best").is_visible())
    assert page.locator("[data-rule=GW206]").is_visible()
    assert "find=my+loss+does+not+go+down" in page.url
    page.get_by_role("searchbox").fill("")
    eventually(lambda: page.locator("[data-rule]").count() > 100)


def test_the_keys_are_listed_under_a_question_mark(server: Server, page: Page) -> None:
    page.goto(server.url)
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keyboard").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog", name="Keyboard").is_visible()


def test_a_zoom_asks_the_server_for_detail_and_reaches_every_chart(
    full: Server, browser: Browser, eventually: Callable[..., None]
) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 1200})
    page.goto(f"{full.url}/runs/{stage.SICK}")
    eventually(lambda: page.locator("[data-chart=loss] .plot .xy").count())
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/charts/" in request.url else None)
    box = page.locator("[data-chart=loss] .nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 42, steps=5)
    page.mouse.up()
    eventually(lambda: page.locator("[data-zoomed]").is_visible())
    eventually(lambda: len({url.partition("?")[0] for url in asked if "from=" in url}) >= 3)
    address = page.url
    page.reload()
    assert page.url == address
    assert page.locator("[data-zoomed]").is_visible()
    page.close()


def test_a_row_of_the_heatmap_opens_its_layer_and_the_tree_folds_it(
    full: Server, browser: Browser, eventually: Callable[..., None]
) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 1200})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/charts/layers" in request.url else None)
    page.goto(f"{full.url}/runs/{stage.DEEP}/layers")
    rows = "() => document.querySelector('#chart-layers .plot')?.data?.[0].y"
    eventually(lambda: page.evaluate(rows))
    assert len(page.evaluate(rows)) == 8
    assert len(asked) == 1, "what the page asked for in advance is what is drawn"
    page.locator("[data-module='blocks.3'] > summary").click()
    eventually(lambda: page.evaluate(rows)[-1] == "blocks.3 ▸ 2")
    box = page.locator("#chart-layers .nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 8)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 5)
    eventually(lambda: page.locator(".cell-tip").is_visible())
    layer, steps, value = page.locator(".cell-tip").inner_text().split("\n")
    assert (layer, steps.split()[0]) == ("blocks.0.fc", "step")
    assert 0 < float(value) < 2, "the value, not its logarithm"
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 5)
    eventually(lambda: page.locator("[data-drawer-title]").count())
    assert page.locator("[data-drawer-title]").inner_text() == "blocks.0.fc"
    assert "layer=blocks.0.fc" in page.url
    page.reload()
    assert page.locator("[data-drawer-title]").inner_text() == "blocks.0.fc"
    assert page.locator("[data-module='blocks.3']").get_attribute("open") is None
    page.keyboard.press("?")
    page.keyboard.press("Escape")
    assert page.locator("[data-drawer-title]").count() == 1, "what lies above the drawer closes first"
    page.keyboard.press("Escape")
    eventually(lambda: not page.locator("[data-drawer-title]").count())
    assert "layer=" not in page.url
    page.close()


def test_a_name_in_the_legend_hides_its_line_and_shows_what_a_later_attempt_replaced(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    open_run(server)
    send(server, 0, {"loss": [3.0, 2.0, 1.0, 0.5], "loss/kl": [0.1] * 4})
    open_run(server, attempt="second", first_step=2)
    send(server, 0, {"loss": [1.1, 0.9], "loss/kl": [0.1] * 2}, first_step=2, attempt="second")
    page.goto(f"{server.url}/runs/{RUN}")
    legend = page.locator("[data-chart=loss] .chart-legend")
    tail = legend.get_by_role("button", name="loss · attempt 1, replaced from step 2 on")
    tail.wait_for()
    shown = """() => document.querySelector("[data-chart=loss] .plot").data
      .filter((one) => one.visible === true || one.visible === undefined).map((one) => one.name)"""
    assert tail.get_attribute("aria-pressed") == "false"
    assert not [name for name in page.evaluate(shown) if "replaced" in name]
    tail.press("Enter")
    eventually(lambda: "loss · attempt 1, replaced from step 2 on" in page.evaluate(shown))
    legend.get_by_role("button", name="loss/kl", exact=True).press("Enter")
    eventually(lambda: "loss/kl" not in page.evaluate(shown))
