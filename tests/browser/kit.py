"""What the browser tests share: runs that are sent to a real server as the hook sends them."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any
from urllib.parse import urlencode

from tests.server.house import ATTEMPT, RUN, frame_bytes
from tests.serving import Server


def post(server: Server, path: str, body: bytes, kind: str) -> None:
    request = urllib.request.Request(server.url + path, data=body, headers={"Content-Type": kind}, method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status in (200, 201)


def open_run(server: Server, run_id: str = RUN, **more: Any) -> None:
    opening = {"id": run_id, "attempt": ATTEMPT, "rank": 0, "project": "default", "name": "baseline",
               "started_ms": time.time_ns() // 1_000_000, "first_step": 0, **more}  # fmt: skip
    post(server, "/api/v1/runs", json.dumps(opening).encode(), "application/json")


def write_notes(server: Server, run_id: str, text: str) -> None:
    form = urlencode({"text": text, "after": server.get(f"runs/{run_id}/notes")["version"]})
    post(server, f"/runs/{run_id}/notes", form.encode(), "application/x-www-form-urlencoded")


def send(
    server: Server,
    seq: int,
    series: dict[str, list[float]],
    first_step: int = 0,
    run_id: str = RUN,
    records: tuple[dict[str, Any], ...] = (),
    attempt: str = ATTEMPT,
    rank: int = 0,
) -> None:
    """Sends one frame with a value of each series at consecutive steps."""
    now = time.time_ns() // 1_000_000
    more = {"run_id": run_id, "records": records, "attempt": attempt, "rank": rank}
    body = frame_bytes(seq, series, first_step=first_step, time_ms=now, **more)
    post(server, f"/api/v1/runs/{run_id}/frames", body, "application/vnd.gradwatch.frame")
