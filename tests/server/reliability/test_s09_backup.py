"""S9: a backup while many runs write and pages are read: it is of one commit, and nobody waits for it.

How much slower acknowledgements are meanwhile is measured by `python -m benchmarks.backup`.
"""

from __future__ import annotations

import threading
import time
import urllib.request
from pathlib import Path

import pytest

from client_hook.cli import main
from server.store import Store
from tests.counts import count, patience
from tests.postgres import Cluster
from tests.server.reliability.kit import Load, Sender
from tests.server.store.kit import url_in
from tests.serving import Server, wait_until

WRITERS, DASHBOARDS = count(4, 50), count(1, 10)
LONGEST_S = 5.0  # ten times the promise of S4: this only catches acknowledgements that wait for the copy


class Writer:
    """Sends the frames of two runs in turn, so that a copy of one commit has as many of either, or one more."""

    def __init__(self, server: Server, number: int) -> None:
        self.loads = [Load(2 * number + which, frames=100_000, steps=20, series=4) for which in range(2)]
        self.acknowledged = [0, 0]
        self.longest_s = 0.0
        self._sender = Sender(server.port)
        for load in self.loads:
            self._sender.open(load)

    def work(self, done: threading.Event) -> None:
        """Sends until it is done."""
        while not done.is_set():
            for which, load in enumerate(self.loads):
                began = time.monotonic()
                assert not self._sender.send(load, self.acknowledged[which])
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.acknowledged[which] += 1
        self._sender.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Names the database of the server and an empty one."""
    if request.param == "sqlite":
        return url_in(tmp_path), url_in(tmp_path / "new")
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    return cluster.new_database(), cluster.new_database()


@pytest.mark.timeout(300)
def test_s09_a_backup_under_load_is_of_one_commit_and_holds_nobody_up(urls: tuple[str, str], tmp_path: Path) -> None:
    server = Server(tmp_path, "--database", urls[0])
    writers = [Writer(server, number) for number in range(WRITERS)]
    done = threading.Event()

    def look(number: int) -> None:
        while not done.is_set():
            with urllib.request.urlopen(f"{server.url}/runs/{writers[number].loads[0].run}", timeout=60) as answer:
                answer.read()

    busy = [threading.Thread(target=writer.work, args=(done,)) for writer in writers]
    busy += [threading.Thread(target=look, args=(number,)) for number in range(DASHBOARDS)]
    for thread in busy:
        thread.start()
    try:
        wait_until(lambda: all(min(writer.acknowledged) > 2 for writer in writers), "every run is sending")
        before = [list(writer.acknowledged) for writer in writers]
        assert main(["backup", str(tmp_path / "copy"), "--database", urls[0]]) == 0
        after = [list(writer.acknowledged) for writer in writers]
    finally:
        done.set()
        for thread in busy:
            thread.join()
    assert server.stop() == 0
    assert sum(map(sum, after)) > sum(map(sum, before)), "frames were acknowledged meanwhile"
    assert max(writer.longest_s for writer in writers) < patience(LONGEST_S)
    assert main(["restore", str(tmp_path / "copy"), "--database", urls[1]]) == 0
    copy = Store.open(urls[1])
    try:
        for writer, least, most in zip(writers, before, after, strict=True):
            frames = [copy.series.names(load.run)[0].count // load.steps for load in writer.loads]
            for load, number, low, high in zip(writer.loads, frames, least, most, strict=True):
                assert low <= number <= high + 1, "what was acknowledged before is there, and nothing from afterwards"
                load.check(copy, range(number))
            assert frames[0] - frames[1] in (0, 1), "a copy of one commit has the runs in the order of their frames"
    finally:
        copy.close()
