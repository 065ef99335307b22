"""Measures what the server needs to answer a page: `python -m benchmarks.query [--quick]`.

A chart of a long series, the heatmap of many layers and the table of many runs, through the whole application and with
the response as it would travel (gzip). Not for: what the browser then does with it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from starlette.testclient import TestClient

from client_hook import wire
from server.app import create_app
from server.config import Settings
from server.live import Live
from server.store import Store

ADDRESS = "http://127.0.0.1:8777"
NOW_MS = 1_790_000_000_000
FRAME_STEPS = 2_000


def main() -> None:
    """Prints one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes")
    small = 10 if parser.parse_args().quick else 1
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), database=f"sqlite:///{home}/gradwatch.db")
        store = Store.open(settings.database)
        app = create_app(settings, store, Live(), diagnose=False, clock=lambda: NOW_MS)
        with TestClient(app, base_url=ADDRESS) as client:
            long_series(client, 1_000_000 // small)
            heatmap(client, 2_000 // small, 2_000)
            many_runs(client, 10_000 // small)
        store.close()


def long_series(client: TestClient, length: int) -> None:
    """Draws one series of a million points, whole and a zoomed part of it."""
    values = np.random.default_rng(0).normal(1.0, 0.1, length)
    fill(client, "long", ("loss",), values[:, None])
    path = "/api/v1/runs/long/charts/loss?points=1000"
    report("chart of a long series", f"{length:,} points", path, client, target_ms=30, target_kb=40)
    report("zoomed chart", "2,000 of them", f"{path}&from={length // 2}&to={length // 2 + 2_000}", client)


def heatmap(client: TestClient, layers: int, steps: int) -> None:
    """Draws the heatmap of a deep model."""
    values = np.random.default_rng(0).lognormal(0, 1, (steps, layers)).astype(np.float32)
    fill(client, "deep", tuple(f"act/std/layer{index}" for index in range(layers)), values, steps_a_frame=200)
    report(
        "heatmap", f"{layers:,} layers × {steps:,} steps", "/api/v1/runs/deep/charts/layers", client, target_ms=1_000
    )


def many_runs(client: TestClient, count: int) -> None:
    """Filters and sorts a long table."""
    for index in range(count):
        opening = {"id": f"r{index}", "attempt": "a", "started_ms": NOW_MS + index, "name": f"run {index % 97}"}
        client.post("/api/v1/runs", json={**opening, "project": f"p{index % 5}"})
    for path in ("/?project=p3&search=run+5&sort=loss", "/", "/api/v1/runs?limit=50&project=p3"):
        report("runs table", f"{count:,} runs, {path}", path, client, target_ms=150)


def fill(
    client: TestClient, run: str, names: tuple[str, ...], values: np.ndarray, *, steps_a_frame: int = FRAME_STEPS
) -> None:
    """Sends a run through the ingest."""
    client.post("/api/v1/runs", json={"id": run, "attempt": run, "started_ms": NOW_MS}).raise_for_status()
    dtype, kind = ("f4", "<f4") if values.dtype == np.float32 else ("f8", "<f8")
    for seq, first in enumerate(range(0, len(values), steps_a_frame)):
        part = values[first : first + steps_a_frame]
        steps = np.arange(first, first + len(part), dtype="<i8")
        group = wire.Group(
            names, dtype, len(part), steps.tobytes(), np.full(len(part), NOW_MS, "<i8").tobytes(),
            np.ascontiguousarray(part.T, kind).tobytes(),
        )  # fmt: skip
        frame = wire.encode(wire.Frame(run, run, 0, seq, NOW_MS, int(steps[-1]), (group,)), compress=False)
        kind_header = {"Content-Type": wire.CONTENT_TYPE}
        client.post(f"/api/v1/runs/{run}/frames", content=frame, headers=kind_header).raise_for_status()


def report(
    case: str,
    what: str,
    path: str,
    client: TestClient,
    *,
    target_ms: float | None = None,
    target_kb: float | None = None,
) -> None:
    """Asks a few times and prints the median time, and the size as it travels."""
    body = client.get(path).raise_for_status().content
    emit(f"{case}, {what}", "median", 1e3 * median(lambda: client.get(path)), "ms", target_ms)
    emit(f"{case}, {what}", "compressed", len(gzip.compress(body, 5)) / 1e3, "kB", target_kb)


def median(ask: Callable[[], object], times: int = 7) -> float:
    """Gives the median seconds of a call."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def emit(case: str, metric: str, value: float, unit: str, target: float | None) -> None:
    """Prints one measurement."""
    line = {"benchmark": "query", "case": case, "metric": metric, "value": round(value, 2), "unit": unit}
    print(json.dumps({**line, "target": target, "meets": None if target is None else value <= target}), flush=True)


if __name__ == "__main__":
    main()
