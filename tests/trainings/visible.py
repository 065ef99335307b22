"""Times how long after `monitor.step` a finding can be read from a server: the whole way that a user waits for.

For tests/server/diagnosis/test_promises and benchmarks.diagnosis.
"""

from __future__ import annotations

import math
import time

import torch
from torch import nn

from client_hook import watch
from tests.serving import Server, wait_until

HEALTHY_STEPS = 200


def seconds_to_finding(server: Server, limit_s: float) -> float:
    """Trains, has one step whose loss is no number, and asks until the finding is there; `limit_s` later it fails."""
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor = watch(model, optimizer, url=server.url)

    def step(scale: float = 1.0) -> None:
        optimizer.zero_grad()
        loss = model(scale * torch.randn(8, 4)).square().mean()
        loss.backward()
        optimizer.step()
        monitor.step(loss)

    for _ in range(HEALTHY_STEPS):
        step()
    wait_until(lambda: monitor.ledger["delivered"] > 0, "a server that knows the run")
    step(math.nan)
    began = time.monotonic()
    path = f"runs/{monitor.run_id}/findings"

    def seen() -> bool:
        return any(item["code"] == "GW601" and item["severity"] == "error" for item in server.get(path)["items"])

    wait_until(seen, "the finding", limit_s)
    took = time.monotonic() - began
    monitor.finish(timeout=10)
    return took
