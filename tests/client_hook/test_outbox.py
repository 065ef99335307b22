"""The outbox: every value is counted once, memory is bounded, and no call waits or raises."""

from __future__ import annotations

import errno
import json
import math
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from client_hook import sender, wire
from client_hook.decoding import decode
from client_hook.identity import Identity
from client_hook.outbox import Outbox
from client_hook.settings import Settings
from client_hook.spool import Parcel, Spool
from client_hook.transport import Answer
from tests.serving import wait_until

NAMES = ("loss", "lr/0")
LIMIT = 50_000
ONE_FRAME = 64 * 1024  # the one that is made when the limit is not reached yet


class Server:
    """A transport that takes every frame, or none."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.frames: dict[int, wire.Frame] = {}
        self.findings: list[dict[str, Any]] = []
        self.opening: dict[str, Any] = {}

    def post(self, path: str, body: bytes, content_type: str) -> Answer:
        if self.away:
            return Answer(0, problem="nobody there")
        if path == "/api/v1/runs":
            self.opening = json.loads(body)
            return Answer(201, {"id": "run", "attempt": 1})
        frame = decode(body)
        self.frames[frame.seq] = frame
        return Answer(200, {"seq": frame.seq, "dropped": [], "findings": self.findings})

    def get(self, path: str) -> Answer:
        return Answer(0)

    def interrupt(self) -> None:
        return

    abort = close = interrupt

    def points(self, name: str) -> dict[int, float]:
        """Gives every value of a series that arrived."""
        found: dict[int, float] = {}
        for _, frame in sorted(self.frames.items()):
            for group in frame.groups:
                if name in group.columns:
                    steps = memoryview(group.steps).cast("B").cast("q")
                    letter = "f" if group.dtype == "f4" else "d"
                    values = memoryview(bytes(group.values)).cast(letter)
                    at = group.columns.index(name) * group.count
                    found |= {steps[row]: values[at + row] for row in range(group.count)}
        return found

    def records(self, kind: str) -> list[dict[str, Any]]:
        """Gives the records of a kind, in order."""
        ordered = sorted(self.frames.items())
        return [record for _, frame in ordered for record in frame.records if record["kind"] == kind]


def outbox(home: Path, server: Server, **settings: Any) -> Outbox:
    chosen = Settings(home=home, quiet=True, strict=False, **settings)
    made = Outbox(Identity.make(environ={}), chosen, {"name": "x"}, transport=server)
    made.start()
    return made


@pytest.fixture
def server() -> Server:
    return Server()


def test_every_value_arrives_once_with_its_step(tmp_path: Path, server: Server) -> None:
    box = outbox(tmp_path, server)
    for step in range(5_000):
        box.row(step, step, NAMES, (step / 3, 0.1))
        box.complete(step)
    box.record("event", "note", 7, {"text": "hello"})
    assert box.finish("finished", 20)
    assert server.points("loss") == {step: step / 3 for step in range(5_000)}
    assert server.opening["host"] == socket.gethostname()
    assert server.opening.keys() >= {"id", "attempt", "rank", "project", "name", "started_ms"}
    assert [record["name"] for record in server.records("event")] == ["note"]
    assert [record["name"] for record in server.records("status")] == ["finished"]
    assert sorted(server.frames) == list(range(len(server.frames))), "no gap"
    ledger = box.ledger
    assert (ledger["produced"], ledger["delivered"], ledger["spooled"], ledger["dropped"]) == (10_000, 10_000, 0, {})


def test_a_value_is_queued_until_it_is_on_disk(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    box = outbox(tmp_path, server)
    append, told = Spool.append, []

    def slow(self: Spool, parcel: Parcel, complete: int) -> None:
        if parcel.values:
            told.append({key: box.ledger[key] for key in ("queued", "spooled", "delivered")})
        append(self, parcel, complete)

    monkeypatch.setattr(Spool, "append", slow)
    for step in range(3):
        box.row(step, step, NAMES, (1.0, 0.1))
    assert box.finish("finished", 20)
    assert told[0]["queued"] > 0
    assert told[0]["spooled"] == 0, "a crash would lose them: they are not kept yet"
    assert {key: box.ledger[key] for key in told[0]} == {"queued": 0, "spooled": 0, "delivered": 6}


def test_values_that_are_no_numbers_travel_as_they_are(tmp_path: Path, server: Server) -> None:
    box = outbox(tmp_path, server)
    for step, value in enumerate((math.nan, math.inf, -math.inf, -0.0)):
        box.row(step, step, ("loss",), (value,), False)
    assert box.finish("finished", 20)
    values = list(server.points("loss").values())
    assert math.isnan(values[0])
    assert values[1:3] == [math.inf, -math.inf]
    assert math.copysign(1, values[3]) == -1


def test_memory_is_bounded_where_neither_disk_nor_server_takes_anything(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    box = outbox(tmp_path / "file" / "home", Server(away=True), memory_bytes=LIMIT)
    for step in range(30_000):
        box.row(step, step, NAMES, (1.0, 0.1))
    assert not box.finish("finished", 0.5)
    ledger = box.ledger
    assert ledger["produced"] == 60_000
    assert sum(ledger["dropped"].values()) > 30_000
    kept = ledger["delivered"] + ledger["spooled"] + ledger["queued"]
    assert kept + sum(ledger["dropped"].values()) == 60_000, "every value has one fate"
    assert ledger["notes"]
    assert 0.5 * LIMIT < box.peak_bytes <= LIMIT + ONE_FRAME, "the limit is one of bytes"


def test_memory_is_bounded_where_the_writing_thread_stands_still(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network disk that hangs: nothing is taken away, and the training thread alone keeps to the limit."""
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(self: Spool, parcel: Parcel, complete: int) -> None:
        hangs.set()
        goes_on.wait(60)
        raise OSError(errno.EIO, "no answer")

    monkeypatch.setattr(Spool, "append", hang)
    box = outbox(tmp_path, server, memory_bytes=LIMIT)
    box.row(0, 0, NAMES, (1.0, 0.1))
    wait_until(hangs.is_set, "a disk that hangs")
    most = 0
    for step in range(1, 30_000):
        box.row(step, step, NAMES, (1.0, 0.1))
        most = max(most, box._journal.rows.waiting_bytes)
    assert 0.5 * LIMIT < most <= LIMIT
    goes_on.set()
    box.finish("finished", 0.5)
    counts = box.ledger
    kept = counts["delivered"] + counts["spooled"] + counts["queued"]
    assert kept + sum(counts["dropped"].values()) == counts["produced"] == 60_000


def test_what_comes_after_the_end_is_counted_and_not_sent(tmp_path: Path, server: Server) -> None:
    box = outbox(tmp_path, server)
    box.row(0, 0, NAMES, (1.0, 0.1))
    assert box.finish("finished", 20)
    box.row(1, 1, NAMES, (2.0, 0.1))
    assert box.finish("failed", 20), "the first end counts"
    assert [record["name"] for record in server.records("status")] == ["finished"]
    assert sum(box.ledger["dropped"].values()) == 2


def test_a_server_that_leaves_the_first_call_without_an_answer_is_said_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    class Silent(Server):
        def post(self, path: str, body: bytes, content_type: str) -> Answer:
            answered.wait(60)
            return super().post(path, body, content_type)

    monkeypatch.setattr(sender, "CALM_LINE_AFTER_S", 0.1)
    said: list[str] = []
    settings = Settings(home=tmp_path)
    box = Outbox(Identity.make(environ={}), settings, {}, transport=Silent(), say_line=said.append)
    box.start()
    try:
        wait_until(lambda: said, "a line while the call waits", 20)
        assert "has taken nothing yet" in said[0]
    finally:
        answered.set()
    assert box.finish("finished", 20)
    assert said[1:] == [f"Gradwatch: {box.url}"]


@pytest.mark.parametrize("disk", [True, False])
def test_the_calm_line_says_what_is_wrong_and_promises_no_disk_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: bool
) -> None:
    monkeypatch.setattr(sender, "CALM_LINE_AFTER_S", 1e9)
    (tmp_path / "file").write_text("no folder")
    said: list[str] = []
    settings = Settings(home=tmp_path / ("home" if disk else "file"))
    box = Outbox(Identity.make(environ={}), settings, {}, transport=Server(away=True), say_line=said.append)
    box.start()
    box.row(0, 0, NAMES, (1.0, 0.1))
    courier = lambda: box._sender._courier  # noqa: E731
    wait_until(lambda: courier() and courier().problem and (disk or box.ledger["notes"]), "both faults", 20)
    monkeypatch.setattr(sender, "CALM_LINE_AFTER_S", 0.0)
    wait_until(lambda: said, "the calm line", 20)
    box.finish("finished", 0.0)
    spool = settings.spool_dir
    goes_on = f"Gradwatch: {settings.url} has taken nothing yet: nobody there. The training goes on, "
    kept = f"{'everything is' if disk else 'but nothing can be'} kept in {spool}; "
    assert said == [f"{goes_on}{kept}deliver it later with: gradwatch sync"]


def test_what_is_wrong_with_a_setting_is_said(tmp_path: Path, server: Server) -> None:
    said: list[str] = []
    for identity, quiet in ((Identity("run", "attempt", 1), False), (Identity("run", "attempt"), True)):
        settings = Settings(home=tmp_path, notes=("url: no",), quiet=quiet)
        box = Outbox(identity, settings, {}, transport=server, say_line=said.append)
        box.start()
        assert box.finish("finished", 20)
    assert said == []
    settings = Settings(home=tmp_path, notes=("url: no",))
    box = Outbox(Identity.make(environ={}), settings, {}, transport=server, say_line=said.append)
    box.start()
    assert box.finish("finished", 20)
    assert said == ["Gradwatch: url: no", f"Gradwatch: {box.url}"]


def test_findings_come_back_and_each_is_fresh_once(tmp_path: Path, server: Server) -> None:
    server.findings = [{"id": "1", "code": "GW601", "state": "open", "severity": "error"}]
    box = outbox(tmp_path, server)
    box.row(0, 0, NAMES, (1.0, 0.1))
    wait_until(box.findings, "findings")
    assert [item["code"] for item in box.fresh_findings()] == ["GW601"]
    assert box.fresh_findings() == []
    assert box.finish("finished", 20)


def test_a_record_that_json_cannot_hold_is_written_as_well_as_can_be(tmp_path: Path, server: Server) -> None:
    box = outbox(tmp_path, server)
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    box.record("event", "odd", 0, {"nan": math.nan, "object": object, "bytes": b"\x00", "set": {1}, "cycle": cycle})
    assert box.finish("finished", 20)
    value = server.records("event")[0]["value"]
    assert (value["nan"], value["set"], value["cycle"]["self"]) == ("nan", [1], "<cycle>")
