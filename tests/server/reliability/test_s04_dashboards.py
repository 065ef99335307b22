"""S4: fifty runs write while ten dashboards poll: every point once, no answer but a good one, and never "locked"."""

from __future__ import annotations

import statistics
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from tests.counts import patience
from tests.server.reliability.kit import Load, Sender, check_all, together
from tests.serving import Server

WRITERS, DASHBOARDS, FRAMES = 50, 10, 20
LONGEST_S = 5.0  # ten times the promise: this only catches what hangs; `benchmarks.ingest` prints the figure
PAGES = (
    "/", "/runs/{run}", "/api/v1/runs?limit=50", "/api/v1/runs/{run}/series", "/api/v1/runs/{run}/findings",
    "/api/v1/runs/{run}/series/data?name=user/series-0&points=100&smooth=5", "/api/v1/runs/{run}/checklist",
)  # fmt: skip


@pytest.mark.timeout(300)
def test_s04_fifty_writers_and_ten_dashboards_do_not_disturb_each_other(tmp_path: Path) -> None:
    server = Server(tmp_path)
    loads = [Load(number, frames=FRAMES, steps=60, series=4) for number in range(WRITERS)]
    senders = [Sender(server.port) for _ in loads]
    for sender, load in zip(senders, loads, strict=True):
        sender.open(load)
    done = threading.Event()
    looked: list[int] = []
    pages: list[float] = []
    acknowledged: list[float] = []

    def look(number: int) -> None:
        while not done.is_set():
            for page in PAGES:
                address = server.url + page.format(run=loads[number].run)
                began = time.monotonic()
                with urllib.request.urlopen(address, timeout=60) as answer:
                    answer.read()
                    looked.append(answer.status)
                pages.append(time.monotonic() - began)

    def deliver(sender: Sender, load: Load) -> None:
        for seq in range(load.frames):
            began = time.monotonic()
            sender.send(load, seq)
            acknowledged.append(time.monotonic() - began)

    dashboards = [threading.Thread(target=look, args=(number,)) for number in range(DASHBOARDS)]
    for dashboard in dashboards:
        dashboard.start()
    try:
        together(
            lambda sender=sender, load=load: deliver(sender, load) for sender, load in zip(senders, loads, strict=True)
        )
    finally:
        done.set()
        for dashboard in dashboards:
            dashboard.join()
    for sender in senders:
        assert set(sender.answers) <= {200, 201}, sender.answers
        sender.close()
    assert set(looked) == {200}
    assert len(looked) >= DASHBOARDS * len(PAGES)
    assert statistics.quantiles(acknowledged, n=100)[98] < patience(LONGEST_S)
    assert statistics.quantiles(pages, n=20)[18] < patience(LONGEST_S)
    server.log.seek(0)
    assert "locked" not in server.log.read()
    assert server.stop() == 0
    check_all(tmp_path, loads)
