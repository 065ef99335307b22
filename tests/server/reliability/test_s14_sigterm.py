"""S14: SIGTERM while twenty runs send: what is in flight is answered, what was acknowledged is there, and it ends."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from server.store import Store
from tests.server.reliability.kit import Load, Sender
from tests.serving import Server, wait_until

SENDERS = 20
LONGEST_S = 60.0  # six times the promise: this only catches a server that hangs


@pytest.mark.timeout(200)
def test_s14_sigterm_under_load_ends_the_server_and_loses_no_acknowledgement(tmp_path: Path) -> None:
    server = Server(tmp_path)
    loads = [Load(number, frames=100_000, steps=20, series=20) for number in range(SENDERS)]
    acknowledged = [0] * SENDERS
    ends: list[int] = []

    def send(number: int) -> None:
        sender = Sender(server.port)
        sender.open(loads[number])
        while (status := sender.once(loads[number], acknowledged[number])) == 200:
            acknowledged[number] += 1
        ends.append(status)
        sender.close()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    wait_until(lambda: sum(acknowledged) > 15 * SENDERS and min(acknowledged) > 0, "every run is sending")
    server.process.terminate()
    assert server.process.wait(timeout=LONGEST_S) == 0
    for thread in threads:
        thread.join(LONGEST_S)
    assert len(ends) == SENDERS
    assert set(ends) <= {0, 503}, "refused, or nobody there: never a failure"
    server.log.seek(0)
    assert "Traceback" not in server.log.read()
    server.stop()
    store = Store.open(f"sqlite:///{tmp_path / 'gradwatch.db'}")
    for load, frames in zip(loads, acknowledged, strict=True):
        stored = store.series.names(load.run)[0].count // load.steps
        assert stored in (frames, frames + 1), "one more may have been stored whose answer found nobody"
        load.check(store, range(stored))
    store.close()
