"""Measures what the server needs to answer a page: `python -m benchmarks.query [--quick] [--database KIND]`.

A chart of a long series, the heatmap of many layers and the table of many runs, through the whole application and with
the response as it would travel (gzip); then what it costs as series, steps and runs grow.
Not for: what the browser then does with it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from starlette.testclient import TestClient

from benchmarks.databases import add_option, database
from benchmarks.ingest import served
from server.app import create_app
from server.config import Settings
from server.domain.runs import NewRun
from server.live import Live
from server.store import Store
from server.store.accepted import AcceptedFrame, AcceptedGroup

ADDRESS = "http://127.0.0.1:8777"
NOW_MS = 1_790_000_000_000
FRAME_STEPS = 2_000


def main() -> None:
    """Prints one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes")
    add_option(parser)
    chosen = parser.parse_args()
    small = 10 if chosen.quick else 1
    with database(chosen.database) as (name, url), tempfile.TemporaryDirectory() as home:
        store = Store.open(url)
        settings = Settings(home=Path(home), database=url)
        app = create_app(settings, store, Live(), diagnose=False, clock=lambda: NOW_MS)
        with TestClient(app, base_url=ADDRESS) as client:
            bench = Bench(name, store, client)
            long_series(bench, 1_000_000 // small)
            heatmap(bench, 2_000 // small, 2_000)
            growing_length(bench, [10_000 // small, 100_000 // small])
            growing_width(bench, [10, 100 // small, 1_000 // small])
            many_runs(bench, [100 // small, 1_000 // small, 10_000 // small])
        store.close()
        start(name, url)


@dataclass
class Bench:
    """What is measured: a store and a client of the application around it."""

    name: str
    store: Store
    client: TestClient


def long_series(bench: Bench, length: int) -> None:
    """Draws one series of a million points, whole and a zoomed part of it; from frames as they came, then sealed."""
    values = np.random.default_rng(0).normal(1.0, 0.1, length).astype(np.float32)
    fill(bench, "long", ("loss",), values[:, None], sealed=False)
    points = min(1_000, length // 330)  # so few that the outlines of its seals suffice, 1024 steps each
    path = f"/api/v1/runs/long/charts/loss?points={points}"
    report(bench, "chart of a long series, not sealed", f"{length:,} points", path)
    bench.store.sealer.run_once(everything=True)
    data = f"/api/v1/runs/long/series/data?name=loss&points={points}&from=1&to={length - 2}"
    report(bench, "series of a long run, cold", f"{length:,} points", data, target_ms=30, target_kb=40, cold=True)
    report(bench, "chart of a long series, from outlines", f"{length:,} points", path, target_ms=30, target_kb=40)
    overview = f"/api/v1/runs/long/series/data?name=loss&points={points}"
    report(bench, "series of a long run, from outlines", f"{length:,} points", overview, target_ms=5, target_kb=40)
    report(bench, "zoomed chart", "2,000 of them", f"{path}&from={length // 2}&to={length // 2 + 2_000}")


def heatmap(bench: Bench, layers: int, steps: int) -> None:
    """Draws the heatmap of a deep model."""
    values = np.random.default_rng(0).lognormal(0, 1, (steps, layers)).astype(np.float32)
    fill(bench, "deep", tuple(f"act/std/layer{index}" for index in range(layers)), values, steps_a_frame=200)
    what = f"{layers:,} layers x {steps:,} steps"
    report(bench, "heatmap", what, "/api/v1/runs/deep/charts/layers", target_ms=1_000, times=3)


def growing_length(bench: Bench, lengths: list[int]) -> None:
    """Draws a whole run, shorter and longer."""
    for length in lengths:
        values = np.random.default_rng(0).normal(size=(length, 1)).astype(np.float32)
        fill(bench, f"length-{length}", ("loss",), values)
        path = f"/api/v1/runs/length-{length}/series/data?name=loss&points=1000"
        report(bench, "cost against length", f"{length:,} points", path)


def growing_width(bench: Bench, widths: list[int]) -> None:
    """Draws one series of runs that have few and many."""
    for width in widths:
        values = np.random.default_rng(0).normal(size=(2_048, width)).astype(np.float32)
        fill(bench, f"width-{width}", ("loss", *(f"x/{number}" for number in range(width - 1))), values)
        path = f"/api/v1/runs/width-{width}/series/data?name=loss&points=1000"
        report(bench, "cost against series", f"one of {width:,}", path)


def many_runs(bench: Bench, counts: list[int]) -> None:
    """Filters and sorts a table that becomes longer."""
    made = 0
    for count in counts:
        for index in range(made, count):
            name = f"run {index % 97}"
            new = NewRun(f"r{index}", "a", project=f"p{index % 5}", name=name, started_ms=NOW_MS + index)
            bench.store.runs.open(new, NOW_MS)
        made = count
        target = 150 if count == counts[-1] else None
        for path in ("/?project=p3&search=run+5&sort=loss", "/", "/api/v1/runs?limit=50&project=p3"):
            report(bench, "runs table", f"{count:,} runs, {path}", path, target_ms=target)


def start(name: str, url: str) -> None:
    """Starts a server on all of that, and lets it write out the long series."""
    began = time.perf_counter()
    with served(None, url) as address:
        emit(f"{name}, server with all of this", "starts in", time.perf_counter() - began, "s", 5)
        began, size = time.perf_counter(), 0
        with urllib.request.urlopen(f"{address}/api/v1/runs/long/series/export?name=loss") as answer:
            while part := answer.read(1024 * 1024):
                size += len(part)
        rate = size / 1e6 / (time.perf_counter() - began)
        emit(f"{name}, export of the long series as CSV, {size / 1e6:.0f} MB", "rate", rate, "MB/s", None)


def fill(
    bench: Bench, run: str, names: tuple[str, ...], values: np.ndarray, *, steps_a_frame: int = FRAME_STEPS,
    sealed: bool = True,
) -> None:  # fmt: skip
    """Stores a run as the ingest does, and seals it."""
    bench.store.runs.open(NewRun(run, run, started_ms=NOW_MS), NOW_MS)
    for seq, first in enumerate(range(0, len(values), steps_a_frame)):
        part = np.ascontiguousarray(values[first : first + steps_a_frame].T)
        steps = np.arange(first, first + part.shape[1], dtype=np.int64)
        group = AcceptedGroup(names, steps, NOW_MS + 100 * steps, part)
        bench.store.frames.accept(AcceptedFrame(run, run, 0, seq, seq, int(steps[-1]), NOW_MS, (group,), ()))
    if sealed:
        bench.store.sealer.run_once(everything=True)


def report(
    bench: Bench,
    case: str,
    what: str,
    path: str,
    *,
    target_ms: float | None = None,
    target_kb: float | None = None,
    cold: bool = False,
    times: int = 7,
) -> None:
    """Asks a few times and prints the median time, and the size as it travels; `cold` empties the page caches first."""
    body = bench.client.get(path).raise_for_status().content
    taken = []
    for _ in range(times):
        if cold:
            bench.store._database.reading.dispose()
        began = time.perf_counter()
        bench.client.get(path)
        taken.append(time.perf_counter() - began)
    emit(f"{bench.name}, {case}, {what}", "median", 1e3 * statistics.median(taken), "ms", target_ms)
    emit(f"{bench.name}, {case}, {what}", "compressed", len(gzip.compress(body, 5)) / 1e3, "kB", target_kb)


def emit(case: str, metric: str, value: float, unit: str, target: float | None) -> None:
    """Prints one measurement."""
    line = {"benchmark": "query", "case": case, "metric": metric, "value": round(value, 2), "unit": unit}
    print(json.dumps({**line, "target": target, "meets": None if target is None else value <= target}), flush=True)


if __name__ == "__main__":
    main()
