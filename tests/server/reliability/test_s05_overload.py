"""S5: more than the server can take: it says when to come back before its memory grows, recovers, and loses nothing."""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path

import pytest

from client_hook import wire
from server.ingest import MAX_BODIES_BYTES
from tests.server.reliability.kit import Load, Sender, check_all, peak_memory_mb, together
from tests.serving import Server

SENDERS = 12
MOST_MB = 512


def announce(server: Server, load: Load) -> socket.socket:
    """Begins to send the largest frame there is, and goes no further."""
    stalled = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    stalled.sendall(
        f"POST /api/v1/runs/{load.run}/frames HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Content-Type: {wire.CONTENT_TYPE}\r\nContent-Length: {wire.MAX_FRAME_BYTES}\r\n\r\nGW".encode()
    )
    return stalled


@pytest.mark.timeout(200)
def test_s05_an_overload_is_refused_with_a_time_to_come_back_and_nothing_is_lost(tmp_path: Path) -> None:
    server = Server(tmp_path)
    loads = [Load(number, frames=1, steps=1_000, series=500) for number in range(SENDERS)]  # 4 MB a frame
    size = len(loads[0].body(0))
    stalled = [announce(server, loads[0]) for _ in range((MAX_BODIES_BYTES - 2 * size) // wire.MAX_FRAME_BYTES)]
    left = MAX_BODIES_BYTES - len(stalled) * wire.MAX_FRAME_BYTES
    assert 2 * size <= left < SENDERS * size, "what is left is too little for all of them at once"
    senders = [Sender(server.port) for _ in loads]
    together(lambda sender=sender, load=load: sender.deliver(load) for sender, load in zip(senders, loads, strict=True))
    answers = sum((sender.answers for sender in senders), Counter[int]())
    assert answers[503] + answers[429] > 0, "it was not too much for it"
    assert set(answers) <= {200, 201, 429, 503}
    assert [refused for sender in senders for refused in sender.no_retry_after] == []
    assert peak_memory_mb(server.process.pid) < MOST_MB
    for connection in stalled:
        connection.close()
    after = Sender(server.port)
    last = Load(SENDERS, frames=3)
    after.deliver(last)
    assert set(after.answers) <= {200, 201}, "it has recovered"
    for sender in (*senders, after):
        sender.close()
    assert server.stop() == 0
    check_all(tmp_path, [*loads, last])
