"""A whole server in this process: a real store in a folder of its own, every router, and a client that talks to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from client_hook import wire
from server.app import OWN_RULES, create_app
from server.config import Settings
from server.diagnosis import Diagnosis
from server.live import Live
from server.store import Store
from tests.frames import pack_group
from tests.server.empty import put_database, rules

ADDRESS = "http://127.0.0.1:8777"
RUN = "0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e77"
ATTEMPT = "0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e78"


class Clock:
    """A clock that the test moves; UTC milliseconds."""

    def __init__(self, now_ms: int = 1_790_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


@dataclass
class House:
    """The parts of the server, and a client."""

    app: FastAPI
    store: Store
    client: TestClient
    clock: Clock

    def open_run(self, run_id: str = RUN, **more: Any) -> None:
        """Opens a run as the hook does."""
        opening = {"id": run_id, "attempt": ATTEMPT, "rank": 0, "project": "default", "name": "baseline",
                   "started_ms": self.clock(), "first_step": 0, **more}  # fmt: skip
        answer = self.client.post("/api/v1/runs", json=opening)
        assert answer.status_code in (200, 201), answer.text

    def send(
        self,
        seq: int,
        series: dict[str, list[float]],
        *,
        first_step: int = 0,
        records: list[dict[str, Any]] | None = None,
        run_id: str = RUN,
        rank: int = 0,
    ) -> Any:
        """Sends one frame with a value of each series at consecutive steps; gives the answer."""
        body = frame_bytes(
            seq,
            series,
            first_step=first_step,
            time_ms=self.clock(),
            records=tuple(records or ()),
            run_id=run_id,
            rank=rank,
        )
        return self.client.post(
            f"/api/v1/runs/{run_id}/frames", content=body, headers={"Content-Type": "application/vnd.gradwatch.frame"}
        )

    def diagnose(self) -> None:
        """Lets the diagnosis look at everything that is new."""
        services = self.app.state.services
        diagnosis = Diagnosis(self.store, services.live, services.registry, self.clock, rooms=services.rooms)
        while diagnosis.run_once():
            pass


def frame_bytes(
    seq: int,
    series: dict[str, list[float]],
    *,
    first_step: int = 0,
    time_ms: int = 1_790_000_000_000,
    records: tuple[dict[str, Any], ...] = (),
    run_id: str = RUN,
    attempt: str = ATTEMPT,
    rank: int = 0,
) -> bytes:
    """Encodes one frame with a value of each series at consecutive steps."""
    columns = tuple(series)
    count = len(series[columns[0]]) if columns else 0
    steps = range(first_step, first_step + count)
    rows = [[series[name][row] for name in columns] for row in range(count)]
    groups = (pack_group(columns, list(steps), [time_ms] * count, rows, "f8"),) if count else ()
    return wire.encode(
        wire.Frame(
            run=run_id,
            attempt=attempt,
            rank=rank,
            seq=seq,
            created_ms=time_ms,
            complete=first_step + count - 1,
            groups=groups,
            records=records,
        )
    )


@contextmanager
def house(home: Path, token: str | None = None, database: str | None = None) -> Iterator[House]:
    """Builds a server whose diagnosis runs only when the test says so."""
    settings = Settings(home=home, database=database or f"sqlite:///{home / 'gradwatch.db'}", token=token)
    if database is None and not (home / "gradwatch.db").exists():
        put_database(home / "gradwatch.db")
    store = Store.open(settings.database)
    clock = Clock()
    try:
        own = (home / OWN_RULES).exists()
        app = create_app(settings, store, Live(), registry=None if own else rules(), diagnose=False, clock=clock)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with TestClient(app, base_url=ADDRESS, headers=headers, follow_redirects=False) as client:
            yield House(app, store, client, clock)
    finally:
        store.close()
