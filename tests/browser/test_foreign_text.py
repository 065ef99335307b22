"""X4: whatever a run, project, tag, metric, layer, note or config entry is called, whatever a record of the hook, a
mute, a threshold or a rule of one's own says: on every page it is only text.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import torch
from playwright.sync_api import Browser, Page

from tests.browser.kit import open_run, post, send, write_notes
from tests.browser.test_every_page import WATCH_POLICY
from tests.inspected import digits, seen
from tests.security.payloads import PAYLOADS
from tests.server.rules.test_own import write as write_rule
from tests.server.web.test_pages_flight import broken
from tests.server.web.test_pages_preflight import LEFT_OUT, RESULTS
from tests.serving import Server, wait_until

pytestmark = pytest.mark.browser

SHARE = 28  # payloads a run
KEPT = ("values", "verdict", "severity", "of", "direction", "from", "metric")  # what a page needs to show the rest
WITHOUT_CHARTS = ("checklist", "inspect", "preflight", "notes")
FACTS = (
    "environment",
    "data",
    "optimizers",
    "schedulers",
    "loss_call",
    "plan",
    "gradients",
    "ledger",
    "config",
    "ending",
)
# a rule of a team, whose words are strange too
SAYS = """        yield Verdict(Severity.WARNING, 0, "; ".join(WORDS), "; ".join(WORDS), layers=WORDS[:4], at_once=True)
"""
OWN_WORDS = """
WORDS = {words!r}
LossAboveFive.__doc__ = LossAboveFive.__doc__.replace("Ours never is.", "\\n\\n    ".join(WORDS))
"""
STRANGERS = """() => {
  const count = (selector) => document.querySelectorAll(selector).length;
  const every = [...document.querySelectorAll("*")];
  const links = [...document.querySelectorAll("a[href]")];
  return {
    pictures: count("img:not([src^='data:image/png'])"),
    elements: count("iframe, object, embed, video, audio, marquee, math, base, body [http-equiv], foreignObject"),
    scripts: [...document.scripts].filter((one) => !one.src.startsWith(location.origin + "/static/")).length,
    handlers: every.filter((one) => one.getAttributeNames().some((name) => /^(on|hx-on)/.test(name))).length,
    links: links.filter((one) => one.origin !== location.origin).length,
    svgLinks: count("svg a"),
  };
}"""
NOTHING = {"pictures": 0, "elements": 0, "scripts": 0, "handlers": 0, "links": 0, "svgLinks": 0}


def runs() -> list[tuple[str, tuple[str, ...]]]:
    parts = [PAYLOADS[at : at + SHARE] for at in range(0, len(PAYLOADS), SHARE)]
    return [(f"run-{number}", part) for number, part in enumerate(parts)]


def strange(value: Any, words: Iterator[str]) -> Any:
    """Puts a strange word in the place of every text of a record."""
    if isinstance(value, dict):
        return {key: item if key in KEPT else strange(item, words) for key, item in value.items()}
    if isinstance(value, list):
        return [strange(item, words) for item in value]
    return next(words) if isinstance(value, str) else value


def records(part: tuple[str, ...], inspected: dict[str, Any]) -> list[dict[str, Any]]:
    """Makes what the hook tells of a run: checks before the training, a look inside, what broke, how it ended."""
    words = itertools.cycle(part)
    results = [strange(item, words) for item in RESULTS]
    told = [{**item, "curves": list(item.get("curves", {}))} for item in results]
    preflight = {"results": told, "left_out": strange(LEFT_OUT, words), "seconds": 4.5, "worst": "error"}
    values = {
        "preflight": preflight,
        "flight": {"breaks": [strange(broken(), words)]},
        "console": {"lines": list(part), "tail": list(part), "signal": next(words), "traceback": next(words)},
        "model": {"layers": [{"name": one, "type": one, "order": place} for place, one in enumerate(part)]},
        **{name: {next(words): next(words), "values": [next(words), {next(words): next(words)}]} for name in FACTS},
    }
    found = [{"kind": "fact", "name": name, "step": 0, "time_ms": 1, "value": value} for name, value in values.items()]
    for name, value in (
        ("preflight", results[0]),
        ("preflight", results[1]),
        ("inspection", strange(inspected, words)),
    ):
        found.append({"kind": "event", "name": name, "step": 1, "time_ms": 1, "value": value})
    return found


def tell_of_project(server: Server, project: str, part: tuple[str, ...]) -> None:
    """Sets a threshold and a mute, each with strange words."""
    mute = {"project": project, "code": "GW954", "layers": part[5][:200], "reason": part[6], "who": part[7]}
    limit = {"project": project, "code": "GW308", "name": "dead", "value": 0.7, "reason": part[8], "who": part[9]}
    for path, content in (("mutes", mute), ("thresholds", limit)):
        post(server, f"/api/v1/{path}", json.dumps(content).encode(), "application/json")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a run for each share of the payloads, which are everything in it that has a name."""
    home = tmp_path_factory.mktemp("foreign")
    write_rule(home / "rules", "loss-above-five", SAYS)
    with (home / "rules" / "loss_above_five.py").open("a") as rule:
        rule.write(OWN_WORDS.format(words=PAYLOADS[:60]))
    (home / "rules" / "broken.py").write_text(f"raise ValueError({PAYLOADS[3]!r})")
    inspected = seen(digits(), torch.rand(2, 1, 8, 8))
    started = Server(home)
    for run_id, part in runs():
        open_run(started, run_id, name=part[0][:200], project=part[1][:200], tags=[one[:100] for one in part],
                 config={one: one for one in part})  # fmt: skip
        notes = [{"kind": "event", "name": "note", "step": 1, "time_ms": 1, "value": {"text": one}} for one in part]
        values = {one: [1.0, 2.0, float("nan")] for one in part}
        values |= {f"act/nonfinite/{one}": [0.0, 0.0, 1.0] for one in part}
        values |= {f"act/std/{one}": [1.0, 1.0, 0.0] for one in part}
        send(started, 0, {"loss": [1.0, 1.0, float("nan")], **values}, run_id=run_id,
             records=(*notes, *records(part, inspected)))  # fmt: skip
        for words in (part, part[::-1]):
            write_notes(started, run_id, "\n\n".join(words))
    for run in started.get("runs")["items"]:
        tell_of_project(started, run["project"], dict(runs())[run["id"]])
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
def test_x4_no_name_runs_anywhere(full: Server, browser: Browser, eventually: Callable[..., None]) -> None:
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
        paths += [f"/runs/{run_id}/inspect", f"/runs/{run_id}/preflight", f"/schedule?run={run_id}"]
        paths += [f"/runs/{run_id}/notes"]
    for project in {run["project"] for run in full.get("runs")["items"]}:
        paths += [f"/settings?project={quote(project, safe='')}&rule=GW308"]
    paths += ["/rules", "/rules/OWN001", "/rules?find=" + quote(PAYLOADS[3], safe="")]
    for path in paths:
        answer = page.goto(full.url + path)
        assert answer is not None
        assert answer.status == 200, path
        if path.startswith(("/runs/", "/compare")) and not any(one in path for one in WITHOUT_CHARTS):
            page.locator(".plot").first.wait_for()
            chart = page.locator("[data-chart]:has(.plot)").first
            chart.focus()
            page.keyboard.press("ArrowRight")  # hover texts and what is read out hold names too
        assert "alert(1)" in page.evaluate("() => document.body.textContent"), "it shows what is strange"
        assert page.evaluate(STRANGERS) == NOTHING, path
        assert page.evaluate("() => window.policyReports") == [], path
    page.close()
    assert dialogs == []


def test_x4_no_name_runs_in_a_report_that_is_opened_from_disk(full: Server, browser: Browser, tmp_path: Path) -> None:
    page, dialogs = watched(browser)
    for run_id, _ in runs():
        answer = page.request.get(f"{full.url}/runs/{run_id}/report")
        file = tmp_path / f"{run_id}.html"
        file.write_bytes(answer.body())
        page.goto(file.as_uri())
        found = page.evaluate(STRANGERS)
        assert {**found, "links": 0} == NOTHING
    page.close()
    assert dialogs == []


def test_x4_no_name_is_a_formula_in_a_spreadsheet(full: Server, browser: Browser) -> None:
    page, _ = watched(browser)
    for run_id, part in runs():
        query = "&".join(f"name={quote(one, safe='')}" for one in part)
        lines = page.request.get(f"{full.url}/api/v1/runs/{run_id}/series/export?{query}").text().split("\n")
        assert not [line for line in lines if line[:1] in "=+-@\t\r" and line]
        assert not [line for line in lines if line[:2] in ('"=', '"+', '"-', '"@')]
    page.close()
