"""X3: what is small on the wire and large in memory, deep, endless or wrong about its length is refused at once.

A real server is asked; what it takes of memory and of the processor is read from the kernel.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client_hook import wire
from client_hook.decoding import MAX_HEADER_BYTES
from server.web.ingest_api import AT_ONCE_BYTES, MAX_OPENING_BYTES
from tests.counts import patience
from tests.server.house import ATTEMPT, RUN
from tests.server.reliability.kit import memory_mb, peak_begins_again, peak_memory_mb
from tests.serving import Server, wait_until

MIB = 1024 * 1024
SOON_S = 1.0  # of the processor: a busy machine takes longer
MOST_MIB = 32
FRAMES = f"/api/v1/runs/{RUN}/frames"
HEAD: dict[str, Any] = {
    "run": RUN, "attempt": ATTEMPT, "rank": 0, "seq": 7, "created_ms": 0, "complete": -1
}  # fmt: skip
START = json.dumps(HEAD).encode()[:-1]
OPENING = b'{"id": "a", "attempt": "b"'


def framed(header: bytes, body: bytes = b"", *, flags: int = 0, raw_bytes: int | None = None) -> bytes:
    """Builds a frame by hand, with a right checksum."""
    promised = len(body) if raw_bytes is None else raw_bytes
    prefix = struct.pack("<4sBBHIII", wire.MAGIC, wire.VERSION, flags, 0, len(header), len(body), promised)
    return prefix + struct.pack("<I", zlib.crc32(body, zlib.crc32(header, zlib.crc32(prefix)))) + header + body


def packed(raw_bytes: int, promised: int) -> bytes:
    return framed(START + b"}", zlib.compress(bytes(raw_bytes), 9), flags=1, raw_bytes=promised)


def groups(amount: int, **more: Any) -> bytes:
    one = {"columns": ["a"], "dtype": "f8", "count": 1, **more}
    return framed(json.dumps({**HEAD, "groups": [one] * amount}).encode())


FULL_HEADER = MAX_HEADER_BYTES - 200
EMOJI = "\U0001f600".encode()
PADDING = b',"a":"' + b"x" * 1_400_000 + b'\\ud83d\\ude00"}'


def bombs() -> dict[str, bytes]:
    return {
        "a frame that unpacks to more than is read": packed(128 * MIB, 128 * MIB),
        "a frame that unpacks to more than it says": packed(128 * MIB, 1_000),
        "a frame that unpacks to less than it says": packed(1_000, wire.MAX_RAW_BYTES),
        "bytes behind the end": framed(START + b"}", zlib.compress(bytes(9)) + b"x" * MIB, flags=1, raw_bytes=9),
        "a stream in a stream": framed(START + b"}", zlib.compress(zlib.compress(bytes(MIB))), flags=1, raw_bytes=9),
        "gzip": gzip.compress(bytes(128 * MIB)),
        "zstd": b"\x28\xb5\x2f\xfd" + bytes(1_000),
        "a length that is not there": framed(START + b"}")[:-1],
        "a header that says 4 GiB": wire.PREFIX.pack(wire.MAGIC, 1, 0, 0, 2**32 - 1, 2**32 - 1, 2**32 - 1, 0) + b"{}",
        "columns without end": groups(1, columns=[""] * 1_000_000),
        "groups without end": groups(40_000),
        "a count beyond all bytes": groups(1, count=2**52),
        "records without end": framed(START + b',"records":[' + b"{}," * (FULL_HEADER // 3) + b"{}]}"),
        "numbers without end": framed(START + b',"records":[' + b"1," * (FULL_HEADER // 2) + b"1]}"),
        "one number without end": framed(b'{"seq":' + b"9" * FULL_HEADER + b"}"),
        "lists in lists": framed(b"[" * FULL_HEADER),
        "a record 10,000 deep": framed(START + b',"records":[{"value":' + b"[" * 10_000 + b"]" * 10_000 + b"}]}"),
        "the same key again and again": framed(b"{" + b'"a":1,' * (FULL_HEADER // 6) + b'"a":1}'),
        "keys without end": framed(b"{" + b",".join(b'"%d":1' % number for number in range(350_000)) + b"}"),
        "as many keys as are read": framed(b"{" + b",".join(b'"%d":1' % number for number in range(139_000)) + PADDING),
        "four bytes for each letter": framed(START + b',"a":"' + EMOJI + b"x" * (FULL_HEADER - 300) + b'"}'),
        "names with an emoji": groups(1, columns=["\U0001f600" + "x" * 60] * 40_000),
        "a body that unpacks to all that is read": packed(wire.MAX_RAW_BYTES, wire.MAX_RAW_BYTES),
        "a full frame with another checksum": framed(START + b"}", bytes(wire.MAX_FRAME_BYTES - 4_096))[:-1] + b"x",
        "msgpack": framed(b"\xc7\x05\x01hello" * 1_000),
    }  # fmt: skip


def openings() -> dict[str, bytes]:
    return {
        "an opening 100,000 deep": OPENING + b',"config":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        "an opening 500 deep": OPENING + b',"config":' + b'{"a":' * 500 + b"1" + b"}" * 501,
        "a number without end": OPENING + b',"rank":' + b"9" * (MAX_OPENING_BYTES - 100) + b"}",
        "tags without end": OPENING + b',"tags":[' + b'"",' * 300_000 + b'""]}',
        "an opening that is too large": OPENING + b',"name":"' + b"x" * MAX_OPENING_BYTES + b'"}',
        "a packed opening": gzip.compress(OPENING + b"}"),
    }


def changes() -> dict[str, bytes]:
    return {
        "lists in lists": b'{"ids":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        "a number without end": b'{"ids":[' + b"9" * 60_000 + b"]}",
        "more than is read": b'{"ids":["' + b"x" * 100_000 + b'"]}',
        "no number": b'{"ids":["a"],"archived":NaN}',
        "half a letter": b'{"ids":["\\ud800"],"archived":true,"add_tags":[1]}',
    }


class Asked:
    """A server, and what it takes in memory."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def post(self, path: str, body: bytes, kind: str, **headers: str) -> tuple[int, bytes]:
        """Sends a body; gives the status and the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=patience(30))
        try:
            connection.request("POST", path, body, {"Content-Type": kind, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def refused(self, what: str, path: str, body: bytes, kind: str = "application/json", **headers: str) -> None:
        """Sends a bomb; it has to be refused soon, with a sentence, and without much memory."""
        pid = self.server.process.pid
        peak_begins_again(pid)
        before, began = memory_mb(pid), self._busy_s()
        status, answer = self.post(path, body, kind, **headers)
        assert status in (400, 413, 415, 422), (what, answer[:200])
        assert self._busy_s() - began < SOON_S, what
        assert json.loads(answer)["detail"]
        assert len(answer) < 1_000, what
        assert peak_memory_mb(pid) - before < MOST_MIB, what

    def _busy_s(self) -> float:
        """Gives how long the server has worked: as a user would wait where nothing else runs."""
        fields = Path(f"/proc/{self.server.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """A server with one run."""
    started = Server(tmp_path_factory.mktemp("bombs"))
    found = Asked(started)
    opening = json.dumps({"id": RUN, "attempt": ATTEMPT}).encode()
    assert found.post("/api/v1/runs", opening, "application/json")[0] == 201
    yield found
    runs = started.get("runs")["items"]
    assert [run["id"] for run in runs] == [RUN], "nothing of all that made a run"
    assert started.stop() == 0


def test_x3_a_bomb_in_a_frame_is_refused_at_once(asked: Asked) -> None:
    for what, body in bombs().items():
        asked.refused(what, FRAMES, body, wire.CONTENT_TYPE)


def test_x3_a_bomb_in_an_opening_is_refused_at_once(asked: Asked) -> None:
    for what, body in openings().items():
        asked.refused(what, "/api/v1/runs", body)


def test_x3_a_bomb_in_a_change_is_refused_at_once(asked: Asked) -> None:
    for what, body in changes().items():
        asked.refused(what, "/api/v1/runs/changes", body)


def test_x3_a_packed_body_is_not_unpacked_because_a_header_says_so(asked: Asked) -> None:
    packed_opening = gzip.compress(OPENING + b"}")
    asked.refused("a packed body", "/api/v1/runs", packed_opening, **{"Content-Encoding": "gzip"})


def test_x3_a_form_without_end_is_refused(asked: Asked) -> None:
    kind = "application/x-www-form-urlencoded"
    for path, body in (("/settings/mutes", b"a=b&" * 3_000), ("/settings/thresholds", b"project=" + b"x" * 1_000_000)):
        status, _ = asked.post(path, body, kind)
        assert status in (413, 422)


def test_x3_a_body_that_is_not_as_long_as_it_says_harms_nobody(asked: Asked) -> None:
    """Shorter, longer, without an end, or in chunks that say they are endless."""
    start = f"POST {FRAMES} HTTP/1.1\r\nHost: 127.0.0.1:{asked.server.port}\r\n".encode()
    for rest in (
        b"Content-Length: 5000000\r\n\r\nGWFR",
        b"Content-Length: 99999999999999999999\r\n\r\nGWFR",
        b"Content-Length: -1\r\n\r\nGWFR",
        b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nGWFRx",
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nGWFR",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nGWFR\r\n",
    ):
        with socket.create_connection(("127.0.0.1", asked.server.port), timeout=patience(20)) as line:
            line.sendall(start + rest)
            line.shutdown(socket.SHUT_WR)
            while line.recv(65_536):
                pass
    wait_until(lambda: asked.server.get("health") == {"status": "ok"}, "an answer")


def test_x3_a_small_frame_that_unpacks_to_a_large_one_keeps_nobody_waiting(asked: Asked) -> None:
    """It is checked in a thread: the loop that answers everybody else goes on."""
    count = wire.MAX_RAW_BYTES // 24
    header = json.dumps({**HEAD, "groups": [{"columns": ["a"], "dtype": "f8", "count": count}]}).encode()
    body = framed(header, zlib.compress(bytes(24 * count), 9), flags=1, raw_bytes=24 * count)
    assert len(body) < AT_ONCE_BYTES
    status, answer = asked.post(FRAMES, body, wire.CONTENT_TYPE)
    assert (status, json.loads(answer)["duplicate"]) == (200, False)
