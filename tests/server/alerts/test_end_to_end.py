"""A real server process diagnoses a training, and people hear of it: once, with the link, across kills too."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from server.domain.alerts import DeliveryState
from server.store import Store, now_ms
from server.store.alerts import LEASE_MS
from tests.postgres import Cluster
from tests.server.alerts.kit import BASE, Heard, Receiver, mailbox, receiver
from tests.server.house import ATTEMPT, RUN, frame_bytes
from tests.serving import Server, wait_until

LAYERS = [f"block.{number}.relu" for number in range(1_000)]
chance = np.random.default_rng(3)
LOSS = [float(value) for value in 2 * np.exp(-np.arange(100) / 300) + 0.05 * chance.normal(size=100)]
FAILED = {"kind": "status", "name": "failed", "step": 99, "time_ms": 1, "value": {}}


class Training:
    """Speaks to a server as the hook of one training does."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.seq = 0

    def post(self, path: str, body: bytes, kind: str) -> None:
        request = urllib.request.Request(self.server.url + path, body, {"Content-Type": kind}, method="POST")
        urllib.request.urlopen(request, timeout=20).close()

    def channel(self, **fields: str) -> None:
        self.post("/settings/alerts", urlencode(fields).encode(), "application/x-www-form-urlencoded")

    def begin(self) -> None:
        opening = {"id": RUN, "attempt": ATTEMPT, "rank": 0, "project": "vision", "name": "night",
                   "started_ms": time.time_ns() // 1_000_000, "first_step": 0}  # fmt: skip
        self.post("/api/v1/runs", json.dumps(opening).encode(), "application/json")

    def send(self, series: dict[str, list[float]], *records: dict[str, Any], first_step: int = 0) -> None:
        now = time.time_ns() // 1_000_000
        body = frame_bytes(self.seq, series, first_step=first_step, time_ms=now, records=records)
        self.post(f"/api/v1/runs/{RUN}/frames", body, "application/vnd.gradwatch.frame")
        self.seq += 1

    def finding(self, code: str) -> Any:
        found = self.server.get(f"runs/{RUN}/findings")["items"]
        return next((item for item in found if item["code"] == code and item["state"] == "open"), None)


@contextmanager
def serving(home: Path, *extra: str) -> Iterator[Server]:
    server = Server(home, "--public-url", BASE, *extra)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def got() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def codes(got: Receiver) -> list[str]:
    return [heard.json["finding"]["code"] if heard.json["finding"] else heard.json["event"] for heard in got.heard]


def test_a_thousand_layers_that_die_and_a_run_that_fails_are_told_once_each(tmp_path: Path, got: Receiver) -> None:
    with ExitStack() as until:
        box = until.enter_context(mailbox())
        mail = ("--smtp-url", f"smtp://127.0.0.1:{box.port}", "--mail-from", "gradwatch@lab.example")
        server = until.enter_context(serving(tmp_path, "--alert-hosts", got.host, *mail))
        training = Training(server)
        warned = {"severity": "warning"}
        training.channel(kind="webhook", name="ours", address=f"{got.url}/T0K3N", secret="s3cret", **warned)
        training.channel(kind="mail", name="mail", address="ada@lab.example", **warned)
        training.begin()
        units = {"units": 64, "dead": 64, "samples": 60, "inputs": 6_000}
        model = {"layers": [{"name": name, "type": "ReLU", "children": 0} for name in LAYERS]}
        facts = [
            {"kind": "fact", "name": name, "step": 60, "time_ms": 1, "value": value}
            for name, value in (("model", model), ("dead_units", dict.fromkeys(LAYERS, units)))
        ]
        training.send({"loss": LOSS}, *facts)
        wait_until(lambda: training.finding("GW308"), "the layers are found to be dead")
        wait_until(lambda: "GW308" in codes(got), "the webhook hears of it")
        wait_until(lambda: any("dead-relu" in mail[2]["Subject"] for mail in box.mails), "and so does the mail")
        first: Heard = got.heard[codes(got).index("GW308")]
        told = first.json
        assert told["event"] == "finding"
        assert told["finding"]["code"] == "GW308"
        assert told["run"]["url"] == f"{BASE}/runs/{RUN}#finding-{told['finding']['number']}"
        assert first.headers["X-Gradwatch-Signature"].startswith("sha256=")
        assert first.headers["Idempotency-Key"] == told["id"]
        (text,) = [mail[2].get_content() for mail in box.mails if "dead-relu" in mail[2]["Subject"]]
        assert "Project: vision" in text
        assert "64 of 64 units" in text
        training.send({"loss": [1.0]}, FAILED, first_step=100)
        wait_until(lambda: "failed" in codes(got), "that it failed is told")
        assert codes(got).count("GW308") == codes(got).count("failed") == 1
        assert len({heard.headers["Idempotency-Key"] for heard in got.heard}) == len(got.heard)
        page = urllib.request.urlopen(f"{server.url}/settings/alerts", timeout=20).read().decode()
        assert "Warning in night: dead-relu (GW308)" in page
        assert "T0K3N" not in page
        assert "s3cret" not in page


def test_what_was_found_before_a_kill_is_told_after_it(tmp_path: Path, got: Receiver) -> None:
    server = Server(tmp_path, "--alert-hosts", got.host)
    training = Training(server)
    training.channel(kind="webhook", name="ours", address=f"{got.url}/T0K3N")
    training.begin()
    training.send({"loss": [1.0] * 50 + [float("nan")] * 50})
    wait_until(lambda: training.finding("GW601") or training.finding("GW201"), "the loss is found not to be finite")
    server.kill()
    before = list(got.heard)
    assert before == [], "it was held back, so that this test is about something"
    with serving(tmp_path, "--alert-hosts", got.host):
        wait_until(lambda: got.heard, "it is told by the next server")
    assert len(got.heard) == 1


def test_two_servers_on_one_database_tell_each_thing_once_and_one_goes_on_alone(
    tmp_path: Path, got: Receiver, postgres_cluster: Cluster
) -> None:
    url = postgres_cluster.new_database()
    one = Server(tmp_path / "one", "--database", url, "--alert-hosts", got.host)
    with serving(tmp_path / "other", "--database", url, "--alert-hosts", got.host) as other:
        training = Training(one)
        for name in "abc":
            training.channel(kind="webhook", name=name, address=f"{got.url}/{name}")
        training.begin()
        training.send({"loss": [1.0] * 50 + [float("nan")] * 50})
        wait_until(lambda: len(got.heard) >= 3, "each channel hears of it")
        told = [heard.path for heard in got.heard]
        one.kill()
        training.server = other
        training.send({"loss": [float("nan")]}, FAILED, first_step=100)
        wait_until(lambda: codes(got).count("failed") == 3, "the other server goes on")
        assert sorted(told) == ["/a", "/b", "/c"]
        assert len({heard.headers["Idempotency-Key"] for heard in got.heard}) == len(got.heard) == 6


def test_a_server_that_is_killed_while_it_sends_leaves_no_gap(tmp_path: Path, got: Receiver) -> None:
    got.drip_s = 60.0  # the receiver has it, and the server does not know yet
    server = Server(tmp_path, "--alert-hosts", got.host)
    training = Training(server)
    training.channel(kind="webhook", name="ours", address=f"{got.url}/T0K3N")
    training.begin()
    training.send({"loss": [1.0] * 50 + [float("nan")] * 50})
    wait_until(lambda: got.heard, "it is under way")
    server.kill()
    store = Store.open(f"sqlite:///{tmp_path}/gradwatch.db")
    (kept,) = store.alerts.latest(9)
    assert (kept.state, kept.tries) == (DeliveryState.WAITING, 1)
    store.close()
    later = Store.open(f"sqlite:///{tmp_path}/gradwatch.db", lambda: now_ms() + LEASE_MS)
    (due,) = later.alerts.claim("the next server", 9)
    assert due.mark == got.heard[0].headers["Idempotency-Key"], "a receiver knows that it is the same"
    later.close()
