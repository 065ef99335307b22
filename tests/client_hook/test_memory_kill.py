"""Trainings that the kernel itself kills because their control group has no more memory."""

from __future__ import annotations

import signal
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.client_hook.test_child import run, runs
from tests.memory_groups import inside, memory_group
from tests.serving import Server, wait_until

pytestmark = pytest.mark.oom
LIMIT = 1 << 30  # torch, the hook and their threads take less than half of it

ITSELF = """
held = []
while True:
    held.append(torch.ones(2_500_000))
"""
A_WORKER = """
class Growing(torch.utils.data.IterableDataset):
    def __iter__(self):
        held = []
        while True:
            held.append(torch.ones(2_500_000))
            yield held[-1][:2]
monitor, model, optimizer = kept
for batch in torch.utils.data.DataLoader(Growing(), batch_size=4, num_workers=1):
    optimizer.zero_grad(); loss = model(batch).square().mean(); loss.backward(); optimizer.step()
    monitor.step(loss)
"""


KILLED = "The kernel killed a process because memory had run out."


def panel(server: Server, run_id: str) -> str:
    with urlopen(f"{server.url}/runs/{run_id}/fragments/flight") as fragment:
        return str(fragment.read().decode())


def test_a_training_that_the_kernel_kills_for_want_of_memory_says_so(server: Server, tmp_path: Path) -> None:
    with memory_group(LIMIT) as group:
        done = run(server, tmp_path / "killed", ITSELF, before=inside(group))
    assert done.returncode == 128 + signal.SIGKILL, done.stderr
    (found,) = runs(server, "killed", "crashed")
    assert found["last_step"] == 29
    assert found["facts"]["ending"] == {"state": "crashed", "signal": "SIGKILL", "oom_kills": 1}
    assert "to stdout" in found["facts"]["console"]["lines"]
    assert "The process was ended by SIGKILL." in panel(server, found["id"])
    assert KILLED in panel(server, found["id"])


def test_a_worker_of_its_loader_that_the_kernel_kills_is_told_as_well(server: Server, tmp_path: Path) -> None:
    with memory_group(LIMIT) as group:
        done = run(server, tmp_path / "worker", A_WORKER, before=inside(group))
    assert done.returncode == 1, done.stderr
    (found,) = runs(server, "worker", "failed")
    assert "DataLoader worker" in found["facts"]["ending"]["exception"]
    assert found["last_step"] > 29
    wait_until(lambda: KILLED in panel(server, found["id"]), "the kernel's part in it")
