"""H2: a server that is away while 120,000 points are made gets each of them once, and soon, when it is back."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from client_hook import watch
from tests.faults.kit import losses, sync, train
from tests.faults.outage import POINTS, STEPS, count, free_port, numbers_of
from tests.serving import Server, wait_until

LONGEST_DRAIN_S = 600.0  # ten times the promise: it catches what does not end; benchmarks.faults prints the time


@pytest.mark.timeout(700)
def test_h2_ten_minutes_of_points_arrive_once_and_the_training_goes_on_meanwhile(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    port = free_port()
    monitor = watch(model, optimizer, url=f"http://127.0.0.1:{port}")

    def step(number: int) -> None:
        optimizer.zero_grad()
        loss = model(torch.ones(4, 2)).square().mean()
        loss.backward()
        optimizer.step()
        monitor.step(loss)
        monitor.log(**numbers_of(number))

    for number in range(STEPS):
        step(number)
    away = monitor.ledger
    assert away["delivered"] == 0
    assert away["produced"] > POINTS
    server = Server(tmp_path / "server", port=port)
    began, trained = time.monotonic(), itertools.count(STEPS)

    def drained() -> bool:
        step(next(trained))
        return monitor.ledger["delivered"] >= away["produced"]

    wait_until(drained, "all that was made meanwhile", LONGEST_DRAIN_S)
    drain_s = time.monotonic() - began
    assert monitor.finish(timeout=LONGEST_DRAIN_S)
    assert count(server, monitor.run_id, next(trained)) == {"lost": 0, "twice": 0, "wrong": 0}
    ledger = monitor.ledger
    assert (ledger["dropped"], ledger["spooled"], ledger["queued"]) == ({}, 0, 0)
    assert ledger["delivered"] == ledger["produced"]
    print(json.dumps({"points": POINTS, "drain_s": round(drain_s, 1), "ledger": ledger}))
    assert server.stop() == 0


@pytest.mark.timeout(240)
def test_h2_a_training_that_ends_while_it_is_caught_up_with_loses_nothing(tmp_path: Path) -> None:
    port = free_port()
    training = train(tmp_path / "hook", f"http://127.0.0.1:{port}", steps=600, pause=0.001)
    wait_until(lambda: len(training.written()) > 300, "300 steps without a server")
    server = Server(tmp_path / "server", port=port)
    ended = training.end()
    if not ended["delivered"]:
        assert sync(tmp_path / "hook").returncode == 0
    assert losses(server, training.run_id) == {step: loss for step, (_, loss) in training.written().items()}
    assert ended["ledger"]["dropped"] == {}
    assert server.stop() == 0
