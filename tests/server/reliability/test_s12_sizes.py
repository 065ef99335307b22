"""S12: what is long, wide or many: answers stay as small as what is drawn, nothing is hidden, and a server that has all
of it starts soon and exports it in little memory.

Usually a tenth of the size; how long answers take is measured by `python -m benchmarks.query`, at the whole size.
"""

from __future__ import annotations

import csv
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event

from server.store import Store
from server.store.engine import files
from tests.counts import count, patience
from tests.server.house import House, house
from tests.server.reliability.kit import memory_mb, peak_begins_again, peak_memory_mb
from tests.server.store.kit import frame, group, open_run
from tests.serving import Server

LONG, WIDE, WIDE_STEPS, MANY = count(100_000, 1_000_000), 2_000, 256, count(1_000, 10_000)
LONGEST_START_S = 50.0  # ten times the promise: this only catches a start that reads all there is
MOST_MB = 200
POINTS = 1_000
SPIKES = {31_337: 1e9, 77_777: float("nan"), 99_998: float("-inf")}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server with a long run, a wide run and many small ones, sealed."""
    with house(tmp_path_factory.mktemp("sizes")) as made:
        fill(made.store)
        yield made


def long_values() -> np.ndarray:
    values = np.sin(np.arange(LONG) / 50)
    for step, value in SPIKES.items():
        values[step] = value
    return values


def fill(store: Store) -> None:
    open_run(store, "long")
    values = long_values()
    for seq, first in enumerate(range(0, LONG, 2_000)):
        part = values[first : first + 2_000].tolist()
        store.frames.accept(frame(seq, group({"loss": part}, range(first, first + len(part))), run_id="long"))
    open_run(store, "wide")
    noise = np.random.default_rng(0).normal(size=(WIDE, WIDE_STEPS))
    names = [f"act/std/layer{index}" for index in range(WIDE)]
    for seq, first in enumerate(range(0, WIDE_STEPS, 64)):
        series = {name: noise[index, first : first + 64].tolist() for index, name in enumerate(names)}
        store.frames.accept(frame(seq, group(series, range(first, first + 64), "f4"), run_id="wide"))
    for number in range(MANY):
        open_run(store, f"run-{number:04}", name=f"run {number % 7}", project=f"p{number % 5}")
    store.sealer.run_once(everything=True)


def test_s12_a_chart_of_a_long_series_is_small_and_hides_nothing(full: House) -> None:
    answer = full.client.get(f"/api/v1/runs/long/series/data?name=loss&points={POINTS}")
    (item,) = answer.json()["items"]
    assert len(item["steps"]) <= POINTS
    assert sum(item["count"]) == LONG, "every sample is in one bucket"
    assert max(value for value in item["max"] if value is not None) == 1e9
    told = {(entry["step"], entry["kind"]) for entry in item["nonfinite"]}
    assert told == {(77_777, "nan"), (99_998, "-inf")}
    assert len(answer.content) < 200_000


def test_s12_a_chart_reads_the_outlines_and_not_all_that_is_stored(full: House) -> None:
    read: list[int] = []
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(full.store._database.reading, "before_cursor_execute", note)
    try:
        for path in (f"points={POINTS}", f"points={POINTS}&from=50000&to=50500", "points=100"):
            statements.clear()
            assert full.client.get(f"/api/v1/runs/long/series/data?name=loss&{path}").status_code == 200
            read.append(len(statements))
    finally:
        event.remove(full.store._database.reading, "before_cursor_execute", note)
    assert max(read) < 20, "the number of queries does not grow with the run"


def test_s12_two_thousand_layers_are_one_picture(full: House) -> None:
    answer = full.client.get("/api/v1/runs/wide/charts/layers")
    assert answer.status_code == 200
    assert len(answer.content) < 8_000_000
    names = full.client.get("/api/v1/runs/wide/series?limit=500").json()
    assert len(names["items"]) == 500
    assert names["next"]


def test_s12_the_list_of_many_runs_comes_in_pages_each_run_once(full: House) -> None:
    seen: list[str] = []
    cursor = ""
    while True:
        page = full.client.get(f"/api/v1/runs?limit=300{cursor}").json()
        seen += [run["id"] for run in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert len(seen) == len(set(seen)) == MANY + 2
    assert full.client.get("/?project=p3&search=run+5&sort=loss").status_code == 200


def test_s12_an_export_gives_every_point_and_never_holds_them_all(full: House) -> None:
    with full.client.stream("GET", "/api/v1/runs/long/series/export?name=loss&format=csv") as answer:
        assert answer.status_code == 200
        rows = list(csv.reader("".join(answer.iter_text()).splitlines()))
    assert len(rows) == LONG + 1
    parts = list(full.store.series.windows("long", ["loss"]))
    longest = max(
        sum(len(data.steps) for data in full.store.series.read("long", ["loss"], start=first, stop=last))
        for first, last in parts
    )
    assert longest < LONG, "it is read in parts"


@pytest.mark.timeout(300)
def test_s12_a_server_with_all_of_it_starts_soon_and_exports_in_little_memory(full: House, tmp_path: Path) -> None:
    files.back_up(Path(full.store._database.name), tmp_path / "gradwatch.db")
    began = time.monotonic()
    server = Server(tmp_path)
    assert time.monotonic() - began < patience(LONGEST_START_S)
    pid, wide = server.process.pid, "&".join(f"name=act/std/layer{index}" for index in range(50))
    for path in ("long/series/export?name=loss", f"wide/series/export?{wide}&format=json"):
        peak_begins_again(pid)
        before, size = memory_mb(pid), 0
        with urllib.request.urlopen(f"{server.url}/api/v1/runs/{path}", timeout=patience(60)) as answer:
            while part := answer.read(65_536):
                size += len(part)
        assert size > 100_000
        assert peak_memory_mb(pid) - before < MOST_MB
    assert server.stop() == 0
