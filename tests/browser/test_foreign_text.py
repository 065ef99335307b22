"""Whatever a run, project, tag, metric, layer, note or config entry is called: on every page it is only text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.kit import open_run, send
from tests.browser.test_every_page import WATCH_POLICY
from tests.security.payloads import PAYLOADS
from tests.serving import Server, wait_until

pytestmark = pytest.mark.browser

SHARE = 28  # payloads a run
STRANGERS = """() => {
  const count = (selector) => document.querySelectorAll(selector).length;
  const every = [...document.querySelectorAll("*")];
  const links = [...document.querySelectorAll("a[href]")];
  return {
    elements: count("img, iframe, object, embed, video, audio, marquee, math, base, body [http-equiv], foreignObject"),
    scripts: [...document.scripts].filter((one) => !one.src.startsWith(location.origin + "/static/")).length,
    handlers: every.filter((one) => one.getAttributeNames().some((name) => /^(on|hx-on)/.test(name))).length,
    links: links.filter((one) => one.origin !== location.origin).length,
    svgLinks: count("svg a"),
  };
}"""
NOTHING = {"elements": 0, "scripts": 0, "handlers": 0, "links": 0, "svgLinks": 0}


def runs() -> list[tuple[str, tuple[str, ...]]]:
    parts = [PAYLOADS[at : at + SHARE] for at in range(0, len(PAYLOADS), SHARE)]
    return [(f"run-{number}", part) for number, part in enumerate(parts)]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a run for each share of the payloads, which are everything in it that has a name."""
    started = Server(tmp_path_factory.mktemp("foreign") / "home")
    for run_id, part in runs():
        open_run(started, run_id, name=part[0][:200], project=part[1][:200], tags=[one[:100] for one in part],
                 config={one: one for one in part})  # fmt: skip
        notes = [{"kind": "event", "name": "note", "step": 1, "time_ms": 1, "value": {"text": one}} for one in part]
        layers = [{"name": one, "type": one, "order": place} for place, one in enumerate(part)]
        model = {"kind": "fact", "name": "model", "step": 0, "time_ms": 1, "value": {"layers": layers}}
        values = {one: [1.0, 2.0, float("nan")] for one in part}
        values |= {f"act/nonfinite/{one}": [0.0, 0.0, 1.0] for one in part}
        values |= {f"act/std/{one}": [1.0, 1.0, 0.0] for one in part}
        send(started, 0, {"loss": [1.0, 1.0, float("nan")], **values}, run_id=run_id, records=(*notes, model))
    wait_until(lambda: all(started.get(f"runs/{run_id}/findings")["items"] for run_id, _ in runs()), "findings", 90)
    yield started
    started.stop()


def watched(browser: Browser) -> tuple[Page, list[str]]:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.add_init_script(f"({WATCH_POLICY})()")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    return page, dialogs


@pytest.mark.timeout(300)
def test_no_name_runs_anywhere(full: Server, browser: Browser, eventually: Callable[..., None]) -> None:
    assert len(PAYLOADS) >= 100
    page, dialogs = watched(browser)
    ids = [run_id for run_id, _ in runs()]
    paths = [
        "/",
        "/?col=" + quote(f"config.{PAYLOADS[0]}", safe=""),
        "/?where=" + quote(f"config.{PAYLOADS[0]}={PAYLOADS[0]}", safe=""),
        "/sweep?result=last.loss",
        "/compare?" + "&".join(f"run={one}" for one in ids),
    ]
    for run_id, part in runs():
        paths += [
            f"/runs/{run_id}",
            f"/runs/{run_id}/checklist",
            f"/runs/{run_id}/layers?layer={quote(part[0], safe='')}",
        ]
        paths += [f"/runs/{run_id}?x={quote(part[2], safe='')}&find={quote(part[3], safe='')}"]
    for path in paths:
        answer = page.goto(full.url + path)
        assert answer is not None
        assert answer.status == 200, path
        if path.startswith(("/runs/", "/compare")) and "checklist" not in path:
            page.locator(".plot").first.wait_for()
            chart = page.locator("[data-chart]:has(.plot)").first
            chart.focus()
            page.keyboard.press("ArrowRight")  # hover texts and what is read out hold names too
        assert page.evaluate(STRANGERS) == NOTHING, path
        assert page.evaluate("() => window.policyReports") == [], path
    page.close()
    assert dialogs == []


def test_no_name_runs_in_a_report_that_is_opened_from_disk(full: Server, browser: Browser, tmp_path: Path) -> None:
    page, dialogs = watched(browser)
    for run_id, _ in runs():
        answer = page.request.get(f"{full.url}/runs/{run_id}/report")
        file = tmp_path / f"{run_id}.html"
        file.write_bytes(answer.body())
        page.goto(file.as_uri())
        found = page.evaluate(STRANGERS)
        assert (found["elements"], found["scripts"], found["handlers"], found["svgLinks"]) == (0, 0, 0, 0)
    page.close()
    assert dialogs == []


def test_no_name_is_a_formula_in_a_spreadsheet(full: Server, browser: Browser) -> None:
    page, _ = watched(browser)
    for run_id, part in runs():
        query = "&".join(f"name={quote(one, safe='')}" for one in part)
        lines = page.request.get(f"{full.url}/api/v1/runs/{run_id}/series/export?{query}").text().split("\n")
        assert not [line for line in lines if line[:1] in "=+-@\t\r" and line]
        assert not [line for line in lines if line[:2] in ('"=', '"+', '"-', '"@')]
    page.close()
