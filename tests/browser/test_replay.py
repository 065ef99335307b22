"""A replay over a project in a real browser: begun by a form, followed without a reload, whole on a narrow screen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import Server
from tests.browser.kit import open_run, send
from tests.browser.test_every_page import AXE, SERIOUS

pytestmark = pytest.mark.browser

RUNS = 6
FINISHED = {"kind": "status", "name": "finished", "step": 1499, "time_ms": 1, "value": {}}
EVIL = "<script>alert(1)</script>" + "long" * 30


def fill(server: Server, eventually: Callable[..., None]) -> None:
    """Sends runs whose loss jumps, and waits until they are diagnosed to their end."""
    chance = np.random.default_rng(5)
    for number in range(RUNS):
        losses = 1 + 0.05 * chance.standard_normal(1500)
        losses[1400:] += 3
        run_id = f"run-{number}"
        open_run(server, run_id, name=EVIL if number == 0 else run_id, attempt=f"attempt-{number}")
        send(server, 0, {"loss": losses.tolist()}, run_id=run_id, attempt=f"attempt-{number}", records=(FINISHED,))
    eventually(lambda: all(run["diagnosis"] == "final" for run in server.get("runs")["items"]), 120)


@pytest.mark.timeout(240)
def test_a_replay_over_a_project_is_followed_to_its_end_without_a_reload(
    server: Server, page: Page, browser: Browser, eventually: Callable[..., None]
) -> None:
    fill(server, eventually)
    page.goto(f"{server.url}/settings?project=default&rule=GW205")
    for name in ("long_ratio", "short_ratio"):
        page.locator(f"[name='threshold.{name}']").fill("9")
    page.get_by_label("Or on the newest runs of the project").fill("5")
    page.get_by_role("button", name="Replay over the project").click()
    page.wait_for_url("**/settings/replays/*")
    page.evaluate("() => { window.neverReloaded = true }")
    state = page.locator("[data-replay-state]")
    eventually(lambda: state.inner_text() == "5 runs judged", 120)
    assert page.evaluate("() => window.neverReloaded") is True
    assert page.get_by_role("button", name="Stop").count() == 0
    assert page.locator("progress").count() == 0
    assert page.locator("[data-replayed-rule=GW205] td").all_inner_texts() == ["0", "5", "0"]
    assert page.locator(".settings__run").count() == 5

    for theme, width in (("light", 400), ("dark", 400), ("dark", 1440)):
        other = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
        other.goto(page.url)
        assert other.evaluate("() => document.documentElement.scrollWidth") <= width
        other.evaluate(AXE.read_text("utf-8"))
        assert other.evaluate(SERIOUS) == []
        other.goto(f"{server.url}/settings?project=default&rule=GW205")
        assert other.get_by_role("link", name="GW205 with short_ratio = 9, long_ratio = 9").is_visible()
        assert other.evaluate("() => document.documentElement.scrollWidth") <= width
        other.close()

    page.get_by_role("link", name="run-5", exact=True).click()
    page.wait_for_url("**/runs/run-5")
    assert page.locator("[data-finding=GW205]").count(), "nothing was saved"


@pytest.mark.timeout(240)
def test_a_replay_is_stopped_by_its_button(server: Server, page: Page, eventually: Callable[..., None]) -> None:
    fill(server, eventually)
    page.goto(f"{server.url}/settings?project=default&rule=GW205")
    page.get_by_role("button", name="Replay over the project").click()
    page.wait_for_url("**/settings/replays/*")
    stop = page.get_by_role("button", name="Stop")
    if stop.count():
        stop.click(no_wait_after=True)
    state = page.locator("[data-replay-state]")
    eventually(lambda: state.inner_text().startswith(("stopped after", "6 runs judged")))
    assert page.get_by_role("button", name="Stop").count() == 0
