"""The real hook and the real server: very many at once, and ten minutes of outage at 200 points a second, 60 times
faster.

120 hooks in each run of the suite, 500 with `make reliability`. The outbox is the hook without the training. Trainings
that a server leaves alone are in tests/faults.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from client_hook import outbox, sender
from client_hook.courier import Courier
from client_hook.identity import Identity
from client_hook.outbox import Outbox
from client_hook.settings import Settings
from server.store import Store
from tests.counts import count, patience
from tests.faults.kit import sync
from tests.serving import Server, wait_until

HOOKS, ROWS = count(120, 500), 5
OUTAGE_S, POINTS_A_SECOND, FASTER = 600, 200, 60
PATIENCE_S = 100.0
NOT_OF_THE_TRAINING = "system metrics after the last step"
NAMES = tuple(f"user/{index}" for index in range(10))


def fast() -> float:
    """A clock on which a second lasts a sixtieth."""
    return FASTER * time.monotonic()


def row(number: int, step: int) -> list[float]:
    """Gives the values of a step."""
    return [number + step * 16.0 + index / 16 for index in range(len(NAMES))]


def check(store: Store, run_id: str, number: int, steps: int) -> None:
    """Fails unless every value of a run is there once."""
    read = store.series.read(run_id, NAMES)
    assert len(read) == len(NAMES)
    for index, data in enumerate(read):
        assert data.steps.tolist() == list(range(steps)), "each step once, none missing"
        assert data.values.tolist() == [row(number, step)[index] for step in range(steps)]
    run = store.runs.get(run_id)
    assert run is not None
    assert run.state.value == "finished"


@pytest.mark.timeout(patience(300))
def test_very_many_hooks_at_once(tmp_path: Path) -> None:
    server = Server(tmp_path / "server")
    settings = Settings(url=server.url, home=tmp_path / "hook", quiet=True)
    boxes = [Outbox(Identity.make(environ={}), settings, {"name": f"hook {number}"}) for number in range(HOOKS)]
    for box in boxes:
        box.start()
    for step in range(ROWS):
        for number, box in enumerate(boxes):
            box.row(step, 1_790_000_000_000 + step, NAMES, row(number, step))
            box.complete(step)
    with ThreadPoolExecutor(HOOKS) as pool:
        delivered = list(pool.map(lambda box: box.finish("finished", PATIENCE_S), boxes))
    # a machine that is busy answers some of them too late: they keep what is left, and say so
    assert any(delivered)
    assert {reason for box in boxes for reason in box.ledger["dropped"]} <= {NOT_OF_THE_TRAINING}

    def all_arrived() -> bool:
        done = sync(tmp_path / "hook", server.url)
        # a file that a thread of ours has open yet is left to it, and that is no failure of `sync`
        return done.returncode == 0 and not [*settings.spool_dir.rglob("*.spool")]

    wait_until(all_arrived, "every frame arrived", PATIENCE_S)
    server.process.terminate()
    assert server.process.wait(timeout=PATIENCE_S) == 0
    server.stop()
    store = Store.open(f"sqlite:///{tmp_path / 'server' / 'gradwatch.db'}")
    for number, box in enumerate(boxes):
        check(store, box.identity.run_id, number, ROWS)
    store.close()


@pytest.mark.timeout(300)
def test_ten_minutes_without_a_server_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (outbox, sender):
        monkeypatch.setattr(module, "monotonic", fast)
    monkeypatch.setitem(Courier.__init__.__kwdefaults__, "monotonic", fast)
    server = Server(tmp_path / "server")
    settings = Settings(url=server.url, home=tmp_path / "hook", quiet=True)
    box = Outbox(Identity.make(environ={}), settings, {"name": "outage"})
    box.start()
    steps = iter(range(1_000_000))

    def train(count: int) -> int:
        for _ in range(count):
            step = next(steps)
            box.row(step, 1_790_000_000_000 + step, NAMES, row(1, step))
            box.complete(step)
        return step + 1

    train(1_000)
    wait_until(lambda: box.ledger["delivered"] > 0, "the first points arrive")
    server.kill()
    a_turn = 20 * len(NAMES)  # a second of the training
    assert a_turn == POINTS_A_SECOND
    for _ in range(OUTAGE_S):
        total = train(a_turn // len(NAMES))
        threading.Event().wait(1 / FASTER / 2)
    assert box.ledger["delivered"] < 20_000
    server = Server(tmp_path / "server", port=server.port)
    total = train(1_000)
    assert box.finish("finished", FASTER * PATIENCE_S)
    ledger = box.ledger
    assert total * len(NAMES) == OUTAGE_S * POINTS_A_SECOND + 20_000
    assert total * len(NAMES) <= ledger["delivered"] == ledger["produced"] - sum(ledger["dropped"].values())
    assert set(ledger["dropped"]) <= {NOT_OF_THE_TRAINING}
    assert ledger["spooled"] == 0
    assert server.stop() == 0
    store = Store.open(f"sqlite:///{tmp_path / 'server' / 'gradwatch.db'}")
    check(store, box.identity.run_id, 1, total)
    store.close()
