"""`kill -9` of a training: what it measured up to the last second arrives with the next start or with `sync`, once.

Four kills in each run of the suite, fifty-one with `make reliability`.
"""

from __future__ import annotations

import json
import random
import socket
import threading
from pathlib import Path

import pytest

from tests.counts import count, patience
from tests.faults.kit import Training, losses, sync, train
from tests.serving import Server, wait_until

LAST_SECOND = 1.0
AT_ONCE = 3
WAVES = count(1, 17)


def kill(training: Training, after_steps: int, chance: random.Random) -> None:
    """Kills it at a random moment after so many steps."""
    wait_until(lambda: len(training.written()) >= after_steps, f"{after_steps} steps")
    threading.Event().wait(chance.random() * 0.3)
    training.process.kill()
    training.process.communicate()


def check(server: Server, training: Training) -> None:
    """Compares what arrived with what the training wrote down."""
    written = training.written()
    arrived = losses(server, training.run_id)
    end = max(at for at, _ in written.values())
    due = {step for step, (at, _) in written.items() if at < end - LAST_SECOND}
    assert due <= arrived.keys(), f"lost: {sorted(due - arrived.keys())}"
    assert {step: arrived[step] for step in written if step in arrived} == {
        step: loss for step, (_, loss) in written.items() if step in arrived
    }
    wait_until(lambda: server.get(f"runs/{training.run_id}")["state"] == "crashed", "crashed")


@pytest.mark.timeout(patience(240))
def test_h5_sync_delivers_what_killed_trainings_left(tmp_path: Path) -> None:
    chance = random.Random(9)
    server = Server(tmp_path / "server")
    steps = 0
    for _ in range(WAVES):
        killed = [train(tmp_path / "hook", server.url, steps=100_000, pause=0.002) for _ in range(AT_ONCE)]
        for number, training in enumerate(killed):
            kill(training, 150 * (number + 1), chance)
        done = sync(tmp_path / "hook")
        assert done.returncode == 0, done.stdout + done.stderr
        for training in killed:
            check(server, training)
            steps += len(training.written())
        assert list((tmp_path / "hook" / "spool").glob("*/*.spool")) == []
    print(json.dumps({"kills": WAVES * AT_ONCE, "steps": steps, "lost": 0, "doubled": 0}))
    assert server.stop() == 0


@pytest.mark.timeout(240)
def test_h5_the_next_start_delivers_a_training_that_never_met_a_server(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    killed = train(tmp_path / "hook", url, steps=100_000, pause=0.002)
    kill(killed, 400, random.Random(10))
    server = Server(tmp_path / "server", port=port)
    following = train(tmp_path / "hook", url, steps=300, pause=0.01)
    following.end()
    wait_until(lambda: any(run["id"] == killed.run_id for run in server.get("runs")["items"]), "the killed run")
    if list((tmp_path / "hook" / "spool").glob(f"{killed.run_id}/*.spool")):
        assert sync(tmp_path / "hook").returncode == 0  # the second training was shorter than the delivery
    check(server, killed)
    assert len(losses(server, following.run_id)) == 300
    assert server.stop() == 0
