"""Two server processes on one PostgreSQL: a training sends to one, a page of the other one sees it live, and when one
dies the other goes on.
"""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import Cluster
from tests.serving import Server, wait_until


@pytest.fixture
def two(tmp_path: Path, postgres_cluster: Cluster) -> Iterator[tuple[Server, Server]]:
    """Starts two servers on one database."""
    url = postgres_cluster.new_database()
    one = Server(tmp_path / "one", "--database", url)
    other = Server(tmp_path / "other", "--database", url)
    yield one, other
    for server in (one, other):
        if server.process.poll() is None:
            server.stop()


class Listener(threading.Thread):
    """Reads the live stream of every run from one server."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.events: list[tuple[str, str | None, int]] = []
        self.stream = urllib.request.urlopen(f"{server.url}/api/v1/live", timeout=60)
        self.start()

    def run(self) -> None:
        kind = ""
        for line in self.stream:
            name, _, value = line.decode().strip().partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                told = json.loads(value)
                self.events.append((kind, told["run"], told["step"]))


@pytest.mark.timeout(240)
def test_a_training_is_seen_live_and_diagnosed_whichever_server_is_asked(two: tuple[Server, Server]) -> None:
    one, other = two
    listener = Listener(other)
    with one.train("digits.py", "--sick") as training:
        assert training.wait(timeout=150) == 0
    (run,) = wait_until(lambda: other.get("runs")["items"], "the run")

    def final() -> bool:
        return all(server.get(f"runs/{run['id']}")["diagnosis"] == "final" for server in two)

    wait_until(final, "the diagnosis", 90)
    heard = {kind for kind, run_id, _ in listener.events if run_id == run["id"]}
    assert {"data", "findings", "state"} <= heard
    found = [server.get(f"runs/{run['id']}/findings")["items"] for server in two]
    assert found[0] == found[1]
    assert any(finding["state"] == "open" for finding in found[0])


@pytest.mark.timeout(240)
def test_when_one_server_dies_the_other_goes_on_with_the_training_and_its_diagnosis(two: tuple[Server, Server]) -> None:
    one, other = two
    with one.train("digits.py", "--sick") as training:
        wait_until(lambda: one.get("runs")["items"] and one.get("runs")["items"][0]["last_step"] > 5, "a few steps", 90)
        port = one.port
        one.kill()
        again = Server(one.home, "--database", _url_of(other), port=port)
        assert training.wait(timeout=150) == 0
    (run,) = other.get("runs")["items"]
    wait_until(lambda: other.get(f"runs/{run['id']}")["diagnosis"] == "final", "the diagnosis", 90)
    losses = other.get(f"runs/{run['id']}/series/data?name=loss&points=20000")["items"][0]
    assert losses["steps"] == list(range(run["last_step"] + 1)), "no step was lost or doubled"
    assert again.stop() == 0


def _url_of(server: Server) -> str:
    arguments = server.process.args
    assert isinstance(arguments, list)
    return str(arguments[arguments.index("--database") + 1])
