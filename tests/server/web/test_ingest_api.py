"""The two routes of the hook over HTTP: statuses, sentences and limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from client_hook import wire
from server.accounts.powers import EVERYBODY
from server.errors import Busy, StorageFull
from server.ingest import MAX_BODIES_BYTES, Ingest
from server.live import Live
from server.store import Store
from server.web import ingest_api, problems
from server.web.caller import CALLER
from server.web.ingest_api import MAX_OPENING_BYTES
from server.web.services import Services
from tests.server.empty import put_database
from tests.server.store.kit import NOW, RUN, sent_frame, url_in

FRAMES = f"/api/v1/runs/{RUN}/frames"
TYPE = {"Content-Type": wire.CONTENT_TYPE}


class Home:
    """A server of these two routes alone."""

    def __init__(self, folder: Path, client: TestClient, store: Store) -> None:
        self.folder, self.client, self.store = folder, client, store
        self.app: Any = client.app

    def send(self, seq: int, series: dict[str, list[float]]) -> Any:
        """Sends one frame."""
        return self.client.post(FRAMES, content=sent_frame(seq, series), headers=TYPE)


class Gate:
    """Lets everybody in, as the gate of an open server does."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, CALLER: EVERYBODY}, receive, send)


@pytest.fixture(params=["by the router", "express"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    put_database(tmp_path / "gradwatch.db")
    store, live = Store.open(url_in(tmp_path)), Live()
    nothing: Any = None
    app = FastAPI()
    app.include_router(ingest_api.router)
    ingest = Ingest(store, live, lambda: NOW)
    app.state.services = Services(nothing, store, live, ingest, nothing, lambda: NOW, nothing, nothing, nothing)
    if request.param == "express":
        app.add_middleware(ingest_api.Express, ingest=app.state.services.ingest)
    app.add_middleware(Gate)
    problems.install(app, problems.plain_page)
    with TestClient(app) as client:
        yield Home(tmp_path, client, store)
    store.close()


def test_a_run_is_opened_once_and_takes_frames(home: Home) -> None:
    opening = {"id": RUN, "attempt": "a1", "config": {"lr": 0.1}}
    first, again = home.client.post("/api/v1/runs", json=opening), home.client.post("/api/v1/runs", json=opening)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == {"id": RUN, "attempt": 1, "url": f"/runs/{RUN}", "created": True}
    taken = home.send(0, {"loss": [3.0, 2.0]})
    assert taken.status_code == 200
    assert taken.json() == {"seq": 0, "duplicate": False, "contiguous": 0, "dropped": [], "findings": []}
    assert home.send(0, {"loss": [3.0, 2.0]}).json()["duplicate"]
    conflict = home.send(0, {"loss": [3.0, 9.0]})
    assert conflict.status_code == 409
    assert conflict.json()["detail"].startswith("Another frame was accepted as seq 0 of rank 0")


def test_what_is_wrong_is_said(home: Home) -> None:
    unknown = home.send(0, {"loss": [1.0]})
    assert unknown.status_code == 404
    assert unknown.json() == {
        "detail": f"Run {RUN} is not known here; open it with POST /api/v1/runs, then send the frame again."
    }
    rubbish = home.client.post(FRAMES, content=b"x" * 100, headers=TYPE)
    assert (rubbish.status_code, rubbish.json()["detail"]) == (422, "magic: got b'xxxx', expected b'GWFR'")
    for body, sentence in ((b"{", "body: not valid JSON ("), (b"[]", "body: got list, expected an object"),
                           (b'{"id": "a b"}', "id: got 'a b', expected 1 to 100 letters")):  # fmt: skip
        answer = home.client.post("/api/v1/runs", content=body)
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(sentence)


def test_bodies_are_cut_off_at_their_limit_announced_or_not(home: Home) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(wire.MAX_FRAME_BYTES // 65_536 + 2):
            yield bytes(65_536)

    streamed = home.client.post(FRAMES, content=endless(), headers=TYPE)
    assert (streamed.status_code, streamed.json()["detail"][:18]) == (413, "body: more than 83")
    announced = home.client.post("/api/v1/runs", content=bytes(MAX_OPENING_BYTES + 1))
    assert announced.status_code == 413
    assert (
        announced.json()["detail"] == f"body: {MAX_OPENING_BYTES + 1} bytes, at most {MAX_OPENING_BYTES} are accepted"
    )


def test_a_sender_that_stalls_gives_its_memory_back(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_api, "PATIENCE_S", 0.05)
    answers: list[Message] = []

    async def begin_and_stall() -> None:
        parts = [{"type": "http.request", "body": b"12345", "more_body": True}]

        async def receive() -> Message:
            return parts.pop() if parts else await asyncio.Future()

        async def send(message: Message) -> None:
            answers.append(message)

        headers = [(b"host", b"127.0.0.1:8777"), (b"content-length", b"8000000")]
        await home.app({"type": "http", "method": "POST", "path": FRAMES, "headers": headers, "query_string": b"",
                        "http_version": "1.1", "scheme": "http", "client": ("127.0.0.1", 1), "root_path": "",
                        "server": ("127.0.0.1", 8777)}, receive, send)  # fmt: skip

    asyncio.run(begin_and_stall())
    assert answers[0]["status"] == 408
    assert b"body: nothing came for 0.05 s after 5 bytes; send the whole of it again" in answers[1]["body"]
    with home.app.state.services.ingest.hold(MAX_BODIES_BYTES):  # nothing of it is held any more
        pass


@pytest.mark.parametrize(("error", "status"), [(Busy("Too much waits.", 3), 503), (StorageFull("It is full."), 507)])
def test_busy_and_full_say_when_to_come_back(
    home: Home, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:

    def refuse(_batch: object) -> None:
        raise error

    monkeypatch.setattr(home.store.frames, "submit", refuse)
    answer = home.client.post(FRAMES, content=sent_frame(0, {"loss": [1.0]}), headers=TYPE)
    assert answer.status_code == status
    assert answer.json()["detail"] == str(error)
    assert int(answer.headers["retry-after"]) >= 1
