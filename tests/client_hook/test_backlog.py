"""What older processes of a home left behind, as a training of today delivers it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from client_hook import wire
from client_hook.backlog import Backlog
from client_hook.decoding import decode
from client_hook.settings import Settings
from client_hook.spool import Parcel, Spool
from client_hook.transport import Answer

URL = "http://here"


class Choosy:
    """A transport to a server that refuses one run."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def post(self, path: str, body: bytes, content_type: str) -> Answer:
        if path == "/api/v1/runs":
            run = json.loads(body)["id"]
            return Answer(422, {"detail": "id: no"}) if run == "refused" else Answer(200, {"id": run, "attempt": 1})
        frame = decode(body)
        self.taken.append(frame.run)
        return Answer(200, {"seq": frame.seq})


def left(home: Path, run: str, age: int) -> Path:
    spool = Spool.create(home / "spool", {"id": run, "attempt": "a", "rank": 0, "url": URL})
    spool.append(Parcel(wire.encode(wire.Frame(run, "a", 0, 0, 1, -1)), 0, 0, final=True), complete=0)
    spool.close()
    os.utime(spool.path, (age, age))
    return spool.path


def test_a_run_that_the_server_refuses_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    refused, taken = left(tmp_path, "refused", 1), left(tmp_path, "taken", 2)
    transport = Choosy()
    backlog = Backlog(Settings(url=URL, home=tmp_path), transport)  # type: ignore[arg-type]
    calls = 0
    while backlog.work():
        calls += 1
    assert transport.taken == ["taken"]
    assert calls < 10
    assert refused.exists()
    assert not taken.exists()
