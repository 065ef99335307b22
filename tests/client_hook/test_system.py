"""System metrics: psutil's own numbers, rates between two readings, NVML's values, and a ledger that stays exact."""

from __future__ import annotations

import os
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from torch import nn

from client_hook import watch
from client_hook.identity import Identity
from client_hook.journal import Journal
from client_hook.ledger import Ledger
from client_hook.settings import Settings
from client_hook.system import MISSING, SystemSampler
from tests.serving import Server, wait_until


class Clock:
    """A clock that is moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def sampler(clock: Clock, **options: Any) -> SystemSampler:
    made = SystemSampler(clock, **options)
    clock.now += 1.0
    assert made.poll() is None, "the first reading is what rates begin from"
    return made


def test_the_numbers_are_those_of_psutil() -> None:
    clock = Clock()
    made = sampler(clock)
    assert made.poll() is None, "not yet"
    clock.now += 1.0
    found = made.poll()
    assert found is not None
    own = psutil.Process()
    assert found["system/process_memory"] == pytest.approx(own.memory_info().rss, rel=0.2)
    assert found["system/process_threads"] == pytest.approx(own.num_threads(), abs=5)
    total = psutil.virtual_memory().total
    assert found["system/memory"] == pytest.approx(found["system/memory_share"] * total, rel=1e-6)
    assert 0.0 <= found["system/cpu"] <= 1.0
    assert {"system/disk_read", "system/disk_write", "system/network_sent", "system/network_received"} <= set(found)
    assert made.poll() is None, "ten seconds later, not before"


def test_rates_are_differences_over_time() -> None:
    clock = Clock()
    net = SimpleNamespace(bytes_sent=1000, bytes_recv=0)
    fake = SimpleNamespace(
        Process=lambda: None, cpu_percent=lambda: 50.0, virtual_memory=lambda: SimpleNamespace(total=100, available=25),
        disk_io_counters=lambda: None, net_io_counters=lambda: net,
    )  # fmt: skip
    made = sampler(clock, load=lambda name: fake if name == "psutil" else None)
    net.bytes_sent = 6000
    clock.now += 2.0
    assert made.poll() == {
        "system/cpu": 0.5, "system/memory": 75.0, "system/memory_share": 0.75, "system/network_sent": 2500.0,
        "system/network_received": 0.0,
    }  # fmt: skip
    net.bytes_sent = 10  # a counter that began anew
    clock.now += 10.0
    assert made.poll()["system/network_sent"] == 0.0


class Nvml(SimpleNamespace):
    """Answers as NVML does, for four GPUs."""

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 4

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(used=10 + handle, total=100)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return SimpleNamespace(gpu=50 + handle)

    def nvmlDeviceGetTemperature(self, handle: int, kind: int) -> int:
        return 60 + handle

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        raise OSError("not supported")


def test_the_gpus_are_those_that_cuda_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0,9,1")
    clock = Clock()
    made = sampler(clock, load=lambda name: Nvml() if name == "pynvml" else None)
    clock.now += 1.0
    assert made.poll() == {
        "system/gpu0/memory": 12.0, "system/gpu0/memory_share": 0.12, "system/gpu0/utilisation": 0.52,
        "system/gpu0/temperature": 62.0, "system/gpu1/memory": 10.0, "system/gpu1/memory_share": 0.1,
        "system/gpu1/utilisation": 0.5, "system/gpu1/temperature": 60.0,
    }, "what a GPU does not tell is left out; CUDA stops at the first number that is not there"  # fmt: skip


def test_without_psutil_nothing_is_sent_and_it_says_what_is_missing() -> None:
    def load(name: str) -> Any:
        raise ImportError(name)

    clock = Clock()
    made = sampler(clock, load=load)
    clock.now += 1.0
    assert made.poll() is None
    assert made.problem == MISSING


def test_other_ranks_of_a_host_tell_of_themselves_alone() -> None:
    clock = Clock()
    made = sampler(clock, whole_host=False)
    clock.now += 1.0
    assert set(made.poll() or {}) == {"system/process_cpu", "system/process_memory", "system/process_threads"}


def test_they_join_a_step_that_was_not_told_to_be_complete_yet(tmp_path: Any) -> None:
    """And the ledger counts them, also those that find no step any more."""
    ledger = Ledger()
    opening = {"id": "r", "attempt": "a", "rank": 0, "project": "p", "started_ms": 1}
    settings = Settings.read(home=tmp_path)
    journal = Journal(Identity("r", "a"), settings, opening, ledger)
    journal.open()
    journal.put_row((0, 1, ("loss",), [1.0], True))
    journal.watermark = 0
    journal.write(1)
    journal.put_beside(2, ("system/cpu",), [0.5])
    journal.write(2)
    assert ledger.as_dict()["queued"] == 1, "step 0 is closed; it waits for the next"
    journal.put_row((1, 3, ("loss",), [1.0], True))
    journal.watermark = 1
    journal.write(3)
    journal.put_beside(4, ("system/cpu",), [0.5])
    journal.drop_beside()
    counts = ledger.as_dict()
    assert (counts["produced"], counts["spooled"], counts["queued"]) == (4, 3, 0)
    assert counts["dropped"] == {"system metrics after the last step": 1}
    journal.close()


@pytest.mark.timeout(180)
def test_they_reach_the_run_page(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADWATCH_SYSTEM", "1")
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = watch(model, optimizer, url=server.url)

    def step_and_look() -> bool:
        optimizer.zero_grad()
        loss = model(torch.ones(4, 2)).square().mean()
        loss.backward()
        optimizer.step()
        monitor.step(loss)
        return monitor._parts.outbox._sender.system_names != {}

    wait_until(step_and_look, "the first system metrics")
    for _ in range(3):
        step_and_look()
    assert monitor.finish()
    found = server.get(f"runs/{monitor.run_id}/series/data?name=system/process_memory")["items"]
    assert found[0]["first"][0] == pytest.approx(psutil.Process().memory_info().rss, rel=0.3)


def test_importing_the_hook_does_not_import_psutil() -> None:
    assert import_module("client_hook.system").__dict__.get("psutil") is None
    assert "LOCAL_RANK" not in os.environ
