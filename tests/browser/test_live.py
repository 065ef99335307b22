"""The live stream: one for all tabs of a browser, none while nobody looks, and a sentence when the server is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import Server
from tests.browser.kit import open_run, send
from tests.server.house import RUN
from tests.serving import Server as ServerProcess

pytestmark = pytest.mark.browser


def show(page: Page, *, hidden: bool) -> None:
    """Tells a page that its tab is looked at, or is not."""
    page.evaluate(
        "(hidden) => {"
        "  Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        "  document.dispatchEvent(new Event('visibilitychange'));"
        "}",
        hidden,
    )


def last_step(page: Page) -> str:
    return page.locator("figure#chart-loss [data-chart]").get_attribute("aria-label") or ""


@pytest.mark.parametrize("shared", [True, False], ids=["shared worker", "a stream of its own"])
def test_s13_a_tab_that_was_hidden_shows_what_came_meanwhile(
    shared: bool, server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    """It gave its stream back, and nothing more comes that would tell it."""
    if not shared:
        page.add_init_script("window.SharedWorker = undefined")
    page.clock.install()
    open_run(server)
    send(server, 0, {"loss": [2.0] * 3})
    page.goto(f"{server.url}/runs/{RUN}")
    eventually(lambda: "Up to step 2" in last_step(page))
    show(page, hidden=True)
    page.clock.fast_forward(11_000)
    send(server, 1, {"loss": [2.0] * 9}, first_step=3)
    eventually(lambda: server.get(f"runs/{RUN}")["diagnosed_step"] == 11)
    show(page, hidden=False)
    eventually(lambda: "Up to step 11" in last_step(page))


def test_s13_eight_tabs_of_one_browser_all_follow_the_training(
    server: Server, browser: Browser, eventually: Callable[..., None]
) -> None:
    open_run(server)
    send(server, 0, {"loss": [2.0] * 3})
    context = browser.new_context()
    tabs = [context.new_page() for _ in range(8)]
    for tab in tabs:
        tab.goto(f"{server.url}/runs/{RUN}")
        tab.locator("[data-verdict]").wait_for()
    send(server, 1, {"loss": [2.0] * 9}, first_step=3)
    for tab in tabs:
        eventually(lambda tab=tab: "12 steps" in tab.locator("#head").inner_text())
    context.close()


def test_a_lost_server_is_said_with_the_time_and_what_was_missed_appears_when_it_is_back(
    server: Server, browser: Browser, eventually: Callable[..., None]
) -> None:
    page = browser.new_page()  # the browser complains of the refused connections, as it should
    open_run(server)
    send(server, 0, {"loss": [2.0] * 3})
    page.goto(f"{server.url}/runs/{RUN}")
    page.locator("[data-verdict]").wait_for()
    page.evaluate("() => { window.neverReloaded = true }")
    port = server.port
    server.stop()
    said = page.locator("[data-link-state]")
    eventually(lambda: said.is_visible() and "No answer from the server for" in said.inner_text())
    again = ServerProcess(server.home, port=port)
    try:
        send(again, 1, {"loss": [2.0] * 9}, first_step=3)
        eventually(lambda: not said.is_visible())
        eventually(lambda: "12 steps" in page.locator("#head").inner_text())
        assert page.evaluate("() => window.neverReloaded") is True
    finally:
        page.close()
        again.stop()


@pytest.mark.parametrize("script", ["gone.js", "copy.js"], ids=["is not there", "says nothing"])
def test_a_page_whose_shared_worker_does_not_load_listens_by_itself(
    script: str, server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    page.add_init_script(
        "const Shared = SharedWorker;"
        "window.SharedWorker = class extends Shared "
        f"{{ constructor(url, more) {{ super('/static/js/{script}', more); }} }};"
    )
    page.clock.install()
    open_run(server)
    send(server, 0, {"loss": [2.0] * 3})
    page.goto(f"{server.url}/runs/{RUN}")
    page.locator("[data-verdict]").wait_for()
    send(server, 1, {"loss": [2.0] * 9}, first_step=3)
    page.clock.fast_forward(6_000)  # Chromium does not always say that a worker's script could not be had
    eventually(lambda: "12 steps" in page.locator("#head").inner_text())
    eventually(lambda: page.locator("body[data-lost]").count() == 0)
