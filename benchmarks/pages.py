"""Measures pages as a reader meets them, in a real Chromium: `python -m benchmarks.pages [--quick]`.

The heatmap of 2,000 layers until its pixels are there, twenty runs over each other under the pointer, the table of
10,000 runs. Not for: what the server alone needs (query.py).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from client_hook import wire
from tests import needs

LISTENING = "Gradwatch listening on "
VIEW = {"width": 1440, "height": 900}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
MOVES, ZOOMS, REPEATS = 60, 8, 5
FRAME_STEPS = 100
REST_MS = 1_500  # a chart asks once a second at most when data comes

# Resolves with the milliseconds until every chart in sight has been drawn anew.
REDRAWN = """(act) => new Promise((resolve) => {
  const plots = [...document.querySelectorAll("[data-drawn-step] .plot")].filter((plot) => {
    const box = plot.getBoundingClientRect();
    return box.bottom > 0 && box.top < innerHeight;
  });
  let waiting = plots.length;
  setTimeout(() => resolve(`${waiting} of ${plots.length} charts were not drawn within 10 s`), 10000);
  const began = performance.now();
  for (const plot of plots) {
    const done = () => {
      plot.removeListener("plotly_afterplot", done);
      waiting -= 1;
      if (!waiting) requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - began)));
    };
    plot.on("plotly_afterplot", done);
  }
  if (act === "refresh") document.dispatchEvent(new CustomEvent("gw:data", { detail: {} }));
  else document.querySelector(act).click();
})"""
# Keeps, for every move of the pointer, the milliseconds until the frame after it is drawn.
WATCH_MOVES = """() => {
  window.moves = [];
  addEventListener("mousemove", () => {
    const began = performance.now();
    requestAnimationFrame(() => setTimeout(() => window.moves.push(performance.now() - began)));
  }, true);
}"""


def main() -> None:
    """Prints one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes")
    small = 10 if parser.parse_args().quick else 1
    with tempfile.TemporaryDirectory() as home, serve(Path(home)) as url, browser() as page:
        heatmap(page, url, 2_000 // small, 2_000)
        overlaid(page, url, 20, 20_000 // small)
        table(page, url, 10_000 // small)


def heatmap(page: Page, url: str, layers: int, steps: int) -> None:
    """Draws every layer of a deep model, from the click and when new data comes."""
    values = np.random.default_rng(0).lognormal(0, 1, (steps, layers)).astype(np.float32)
    names = tuple(f"act/std/blocks.{layer // 20}.part{layer % 20}" for layer in range(layers))
    send(url, "deep", names, values, "f4")
    case = f"heatmap, {layers:,} layers × {steps:,} steps, every row"
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        page.goto(f"{url}/runs/deep/layers?open=*")
        page.locator("#chart-layers [data-drawn-step]").wait_for()
        taken.append(1e3 * (time.perf_counter() - began))
    emit(case, "from the click to pixels, whole page, median", float(np.median(taken)), "ms", None)
    drawn = []
    for _ in range(REPEATS):
        page.wait_for_timeout(REST_MS)
        drawn.append(page.evaluate(REDRAWN, "refresh"))
    emit(case, "asked and drawn, median", float(np.median(drawn)), "ms", 1_000)


def overlaid(page: Page, url: str, runs: int, steps: int) -> None:
    """Moves the pointer over a chart of many runs, and zooms."""
    noise = np.random.default_rng(0)
    for run in range(runs):
        loss = 2 * np.exp(-np.arange(steps) / (steps / 5)) + 0.1 * noise.standard_normal(steps) + run / 50
        send(url, f"run-{run}", ("loss", "accuracy"), np.stack((loss, 1 - loss / 3), axis=1), "f8")
    page.goto(f"{url}/compare?" + "&".join(f"run=run-{run}" for run in range(runs)))
    page.locator("[data-drawn-step]").first.wait_for()
    page.locator("#overlays").scroll_into_view_if_needed()
    box = page.locator(".nsewdrag").first.bounding_box()
    assert box is not None
    page.evaluate(WATCH_MOVES)
    for _ in range(MOVES):
        page.mouse.move(box["x"] + noise.random() * box["width"], box["y"] + noise.random() * box["height"])
        page.wait_for_timeout(30)
    case = f"{runs} runs overlaid, {steps:,} steps each"
    moves = page.evaluate("() => window.moves")
    emit(case, "pointer to frame, p95", float(np.percentile(moves, 95)), "ms", 200)
    zooms = []
    for index in range(ZOOMS):
        page.goto(page.url.partition("&from")[0] + f"&from={index * steps // 40}&to={steps // 2}")
        page.locator("[data-drawn-step]").nth(1).wait_for()
        page.evaluate("() => document.querySelector('#overlays').scrollIntoView()")
        page.wait_for_timeout(REST_MS)
        zooms.append(page.evaluate(REDRAWN, "[data-zoom-reset]"))
    emit(case, "zoom until all charts in sight are drawn, p95", float(np.percentile(zooms, 95)), "ms", None)


def table(page: Page, url: str, count: int) -> None:
    """Sorts and searches a long table."""
    for run in range(count):
        opening = {"id": f"t{run}", "attempt": "a", "started_ms": run + 1, "name": f"run {run % 97}", "project": "long",
                   "config": {"lr": run % 13 / 10}}  # fmt: skip
        post(url, "/api/v1/runs", json.dumps(opening).encode(), "application/json")
    for words, query in (("newest", ""), ("searched and sorted by loss", "&search=run+5&sort=loss"),
                         ("sorted by a config column", "&col=config.lr&sort=config.lr"),
                         ("sorted by a metric column", "&col=last.loss&sort=last.loss")):  # fmt: skip
        taken = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            with urllib.request.urlopen(f"{url}/?project=long{query}") as answer:
                answer.read()
            taken.append(1e3 * (time.perf_counter() - began))
        emit(f"runs table, {count:,} runs, {words}", "server's answer, median", float(np.median(taken)), "ms", 150)
    page.goto(f"{url}/?project=long")
    page.locator("tbody tr").first.wait_for()
    began = time.perf_counter()
    page.locator("[name=search]").fill("run 42")
    page.wait_for_function(
        "() => document.querySelectorAll('tbody tr').length && "
        "[...document.querySelectorAll('.run-row__name > a')].every((one) => one.textContent === 'run 42')"
    )
    emit(f"runs table, {count:,} runs", "typed to table (250 ms of it waits for more keys)",
         1e3 * (time.perf_counter() - began), "ms", None)  # fmt: skip


def send(url: str, run: str, names: tuple[str, ...], values: Any, dtype: str) -> None:
    """Sends a run through the ingest."""
    opening = {"id": run, "attempt": run, "started_ms": 1, "name": run}
    post(url, "/api/v1/runs", json.dumps(opening).encode(), "application/json")
    for seq, first in enumerate(range(0, len(values), FRAME_STEPS)):
        part = np.ascontiguousarray(values[first : first + FRAME_STEPS].T, f"<{dtype}")
        steps = np.arange(first, first + part.shape[1], dtype="<i8")
        group = wire.Group(names, dtype, part.shape[1], steps.tobytes(), (steps * 10 + 1).tobytes(), part.tobytes())
        frame = wire.encode(wire.Frame(run, run, 0, seq, 1, int(steps[-1]), (group,)), compress=False)
        post(url, f"/api/v1/runs/{run}/frames", frame, wire.CONTENT_TYPE)


def post(url: str, path: str, body: bytes, kind: str) -> None:
    """Sends one request, and again while the server is busy."""
    request = urllib.request.Request(url + path, data=body, headers={"Content-Type": kind}, method="POST")
    for _ in range(50):
        try:
            urllib.request.urlopen(request, timeout=60).read()
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503):
                raise
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"The server stayed busy for {path}")


@contextmanager
def serve(home: Path) -> Iterator[str]:
    """Runs a server of its own."""
    program = [sys.executable, "-m", "client_hook.cli", "serve", "--port", "0", "--home", str(home)]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip().removeprefix(LISTENING)
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def browser() -> Iterator[Page]:
    """Opens one page in a headless Chromium."""
    path = needs.find()
    if path is None:
        raise SystemExit(needs.MEND)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium.new_page(viewport=VIEW)  # type: ignore[arg-type]
        chromium.close()


def emit(case: str, metric: str, value: float, unit: str, target: float | None) -> None:
    """Prints one measurement."""
    line = {"benchmark": "pages", "case": case, "metric": metric, "value": round(value, 1), "unit": unit}
    print(json.dumps({**line, "target": target, "meets": None if target is None else value <= target}), flush=True)


if __name__ == "__main__":
    main()
