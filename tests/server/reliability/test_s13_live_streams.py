"""S13: two hundred live streams on a real server: all hear, one that does not read holds nobody up, one that goes is
forgotten, and one that comes back hears the present state first, whatever it last heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import selectors
import socket
from pathlib import Path

import pytest
from fastapi.sse import ServerSentEvent

from server.accounts.powers import EVERYBODY
from server.web import live_api
from tests.server.house import RUN, house
from tests.server.reliability.kit import Load, Sender, peak_memory_mb
from tests.serving import Server, wait_until

CLIENTS = 200
GROWTH_MB = 128
BROWSERS_CONNECTIONS = 6  # of HTTP/1.1 to one host


class Stream:
    """One reader of a live stream, over a bare socket."""

    def __init__(self, server: Server, path: str, headers: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAccept: text/event-stream\r\n{headers}\r\n"
        self.socket.sendall(request.encode())
        self.head = ""
        self.events: list[tuple[str, int]] = []  # what was heard: its name, and the step that it covers
        self.last_data = -2
        self._rest = ""
        self._event = ""

    def read(self) -> None:
        """Takes what has come."""
        more = self.socket.recv(65_536)
        assert more, "the server has ended the stream"
        self._rest += more.decode()
        if not self.head:
            head, found, rest = self._rest.partition("\r\n\r\n")
            if not found:
                return
            self.head, self._rest = head.lower(), rest
        *lines, self._rest = self._rest.split("\n")
        for line in lines:
            if line.startswith("event: "):
                self._event = line.removeprefix("event: ").strip()
            elif line.startswith("data: "):
                step = json.loads(line.removeprefix("data: "))["step"]
                self.events.append((self._event, step))
                if self._event == "data":
                    self.last_data = step


def read_until(streams: list[Stream], step: int) -> None:
    """Reads all streams until each has told that there are data up to a step."""
    with selectors.DefaultSelector() as waiting:
        for stream in streams:
            if stream.last_data < step:
                waiting.register(stream.socket, selectors.EVENT_READ, stream)
        while waiting.get_map():
            ready = waiting.select(60)
            assert ready, "nothing is told any more"
            for key, _ in ready:
                key.data.read()
                if key.data.last_data >= step:
                    waiting.unregister(key.fileobj)


def sockets(server: Server) -> int:
    """Counts the open sockets of the server; the files of its connections to the database are not its clients."""
    targets = []
    for descriptor in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            targets.append(str(descriptor.readlink()))
    return sum(target.startswith("socket:") for target in targets)


@pytest.mark.timeout(300)
def test_s13_two_hundred_streams(tmp_path: Path) -> None:
    server = Server(tmp_path)
    load = Load(1, frames=300)
    sender = Sender(server.port)
    sender.open(load)
    sender.send(load, 0)
    before, memory = sockets(server), peak_memory_mb(server.process.pid)
    path = f"/api/v1/runs/{load.run}/live"
    streams = [Stream(server, path) for _ in range(CLIENTS)]
    read_until(streams, load.steps - 1)
    for stream in streams:
        while len(stream.events) < 3:
            stream.read()
        assert [event for event, _ in stream.events[:3]] == ["state", "data", "findings"], "the present state is first"
    deaf = streams[:20]  # they read no more, and hold nobody up
    for seq in range(1, 200):
        sender.send(load, seq)
    read_until(streams[20:], 200 * load.steps - 1)
    for stream in streams[20:]:
        heard = [step for event, step in stream.events if event == "data"]
        assert heard == sorted(heard)
    assert peak_memory_mb(server.process.pid) - memory < GROWTH_MB
    for stream in streams[20:]:
        stream.socket.close()  # without a word
    sender.send(load, 200)
    wait_until(lambda: sockets(server) <= before + len(deaf) + 5, "those that went are forgotten")
    back = Stream(server, path, "Last-Event-ID: 17\r\n")
    read_until([back], 201 * load.steps - 1)
    read_until(deaf, 201 * load.steps - 1)  # one that listens again hears the newest
    for stream in (back, *deaf):
        stream.socket.close()
    sender.close()
    assert server.stop() == 0


@pytest.mark.timeout(120)
def test_s13_a_stream_is_not_held_back_and_ends_with_the_server(tmp_path: Path) -> None:
    server = Server(tmp_path)
    streams = [Stream(server, "/api/v1/live") for _ in range(BROWSERS_CONNECTIONS)]
    for stream in streams:
        while not stream.events:
            stream.read()
        assert "content-type: text/event-stream" in stream.head
        assert "content-encoding" not in stream.head, "a compressed stream would wait for a full block"
        assert "x-accel-buffering: no" in stream.head, "a proxy would wait too"
        assert "cache-control: no-" in stream.head
    assert server.stop() == 0, "open streams do not hold up its end"
    for stream in streams:
        stream.socket.close()


def test_s13_who_comes_back_misses_nothing_and_needs_no_replay(tmp_path: Path) -> None:
    """The present state is read after every change is heard: one that comes in between is told too."""
    with house(tmp_path) as home:
        home.open_run()
        home.send(0, {"loss": [2.0] * 3})
        before = home.store.runs.get(RUN)
        assert before is not None
        home.send(1, {"loss": [2.0] * 9}, first_step=3)
        home.diagnose()

        async def first() -> list[ServerSentEvent]:
            stream = live_api.watch_run(before, home.app.state.services, EVERYBODY)
            return [await anext(stream) for _ in range(3)]

        told = {event.event: event.data.step for event in asyncio.run(first())}
    assert told == {"state": 11, "data": 11, "findings": 11}
