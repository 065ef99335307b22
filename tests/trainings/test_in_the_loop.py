"""What a loop hears of its findings while it trains against a real server: `on_finding`, `should_stop`, the verdict."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from client_hook import watch
from tests.serving import Server

LONGEST_S = 90.0  # of a loop that hears nothing


def _train(server: Server, *, clears: bool, steps: int | None, **options: Any) -> tuple[Any, int]:
    """Trains until the monitor says to stop, or for some steps; gives the monitor and the number of steps."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    monitor = watch(model, optimizer, url=server.url, total_steps=100_000, **options)
    until, step = time.monotonic() + LONGEST_S, 0
    while step != steps and not monitor.should_stop and time.monotonic() < until:
        x = torch.randn(32, 8)
        loss = F.cross_entropy(model(x), x[:, :3].argmax(1))
        if clears:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        monitor.step(loss)
        step += 1
    return monitor, step


@pytest.mark.timeout(240)
def test_a_loop_hears_what_is_wrong_and_stops_itself(
    server: Server, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRADWATCH_QUIET")
    told: list[dict[str, Any]] = []
    monitor, steps = _train(server, clears=False, steps=None, on_finding=told.append)
    assert monitor.should_stop, f"no error was heard of in {steps} steps"
    (first,) = [item for item in told if item["code"] == "GW304"][:1]
    assert (first["severity"], first["state"]) == ("error", "open")
    assert "GW304" in {item["code"] for item in monitor.findings()}
    assert monitor.finish(timeout=20)
    page = server.get(f"runs/{monitor.run_id}/findings")["items"]
    assert "GW304" in {item["code"] for item in page}
    assert "Gradwatch found 1 error. GW304 missing-zero-grad" in capfd.readouterr().err


@pytest.mark.timeout(240)
def test_who_finishes_after_model_and_optimizer_are_gone_waits_for_what_was_begun(server: Server) -> None:
    monitor, _ = _train(server, clears=True, steps=30)
    assert monitor.finish(timeout=30), "the objects went with the function, and delivery began then"
    assert server.get(f"runs/{monitor.run_id}")["state"] == "finished"
    assert monitor.ledger["delivered"] == monitor.ledger["produced"] > 30


@pytest.mark.timeout(240)
def test_a_healthy_loop_hears_nothing_that_would_stop_it(server: Server) -> None:
    told: list[dict[str, Any]] = []
    monitor, steps = _train(server, clears=True, steps=400, on_finding=told.append)
    assert steps == 400
    assert monitor.finish(timeout=20)
    assert [item["code"] for item in (*told, *monitor.findings()) if item["severity"] != "info"] == []
