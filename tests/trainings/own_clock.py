"""Trainings whose clock is their own, so that hours take a second and no machine is too slow: python -m
tests.trainings.own_clock CASE… prints {case: run id}.

What is real: the training, the hook, the server, the memory that grows. What is not: the time, the size of the machine,
and a GPU that says how busy it is. The clock has to be in place before the hook is imported, so this is a process of
its own.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

from tests.trainings.clock import CLOCK

import psutil  # isort: skip
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from client_hook import watch
from client_hook.system import SystemSampler

SMALL_MACHINE = 2**30  # bytes
BATCH, WIDTH = 64, 8192  # each step's graph takes 4 MiB


def a_small_machine() -> None:
    """Makes the host one of 1 GiB, half of it in use."""
    psutil.virtual_memory = lambda: SimpleNamespace(total=SMALL_MACHINE, available=SMALL_MACHINE // 2)


def a_gpu() -> None:
    """Puts a device beside the CPU that was busy as long as the training was at work."""

    def utilisation(_: Any) -> SimpleNamespace:
        return SimpleNamespace(gpu=round(100 * CLOCK.share_busy()))

    library: Any = ModuleType("pynvml")
    library.nvmlInit = lambda: None
    library.nvmlDeviceGetCount = lambda: 1
    library.nvmlDeviceGetHandleByIndex = lambda index: index
    library.nvmlDeviceGetMemoryInfo = lambda _: SimpleNamespace(used=2**30, total=2**34)
    library.nvmlDeviceGetUtilizationRates = utilisation
    library.nvmlDeviceGetTemperature = lambda *_: 50
    library.nvmlDeviceGetPowerUsage = lambda _: 90_000
    sys.modules["pynvml"] = library


class Polled:
    """Knows at what time the hook last asked whether to read the machine."""

    at = 0.0


def watch_the_sampler() -> None:
    """Lets the training know when the hook has seen its clock."""
    poll = SystemSampler.poll

    def seen(self: SystemSampler) -> dict[str, float] | None:
        found = poll(self)
        Polled.at = CLOCK.now
        return found

    SystemSampler.poll = seen  # type: ignore[method-assign]


class Rows(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Inputs with the sum of their columns; reading one takes its time."""

    def __init__(self, count: int, wait: float) -> None:
        self.x = torch.randn(count, 16, generator=torch.Generator().manual_seed(3))
        self.wait = wait

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, at: int) -> tuple[torch.Tensor, torch.Tensor]:
        CLOCK.wait(self.wait)
        return self.x[at], self.x[at].sum()


def batches(loader: DataLoader[Any], steps: int) -> Iterator[Any]:
    """Gives so many batches, in epochs."""
    given = 0
    while given < steps:
        for batch in loader:
            given += 1
            yield batch
            if given == steps:
                return


def machine(*, leaks: bool = False, starves: bool = False) -> str:
    """Trains for a quarter of an hour while the hook reads the machine; may keep what a layer said of every batch, or
    wait nine tenths of the time."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    loader = DataLoader(Rows(2 * BATCH, (0.9 if starves else 0.05) / BATCH), batch_size=BATCH)
    kept = []
    with watch(model, optimizer, name=f"leaks {leaks} starves {starves}", total_steps=80) as monitor:
        for x, y in batches(loader, 80):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x).squeeze(1), y)
            loss.backward()
            optimizer.step()
            if leaks:
                kept.append(model[:2](x).detach())
            CLOCK.work(0.1)
            monitor.step(loss.detach())
            CLOCK.work(10.0) if not starves else CLOCK.wait(10.0)
            hurry(monitor)
    return str(monitor.run_id)


def hurry(monitor: Any) -> None:
    """Wakes the hook's sender, and goes on when it has looked at the clock."""
    for _ in range(2000):
        monitor._parts.outbox._sender.wake()
        if Polled.at >= CLOCK.now:
            return
        time.sleep(0.005)
    raise AssertionError("the hook's sender has not looked at the clock for 10 s")


class Words(nn.Module):
    """An embedding and a head; where it is told to, the gradient of the embedding is a thousand times too large."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.tokens, self.head = nn.Embedding(40, 16), nn.Linear(16, 5)
        self.loud = False

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        rows = self.tokens(ids).mean(1)
        if self.loud:
            rows = 1000 * rows - 999 * rows.detach()
        return self.head(rows)


def even(step: int) -> float:
    """Takes as long for every step."""
    return 0.05


def words(*, jumps: bool = False, pace: Callable[[int], float] = even, steps: int = 320) -> str:
    """Trains on bags of words; now and then the embedding's gradient may jump, and a step may take its time."""
    model = Words()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    chance = torch.Generator().manual_seed(2)
    answers = torch.randn(40, 5, generator=chance)
    with watch(model, optimizer, name=f"jumps {jumps} {steps}", total_steps=steps) as monitor:
        for step in range(steps):
            ids = torch.randint(0, 40, (64, 6), generator=chance)
            model.loud = jumps and step >= 250 and step % 10 == 0
            optimizer.zero_grad()
            loss = F.cross_entropy(model(ids), answers[ids].mean(1).argmax(1))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1e9)  # as people do who want to see the norm
            optimizer.step()
            CLOCK.work(pace(step))
            monitor.step(loss)
    return str(monitor.run_id)


def hours(*, saves: bool) -> str:
    """Trains for more than an hour, and may keep the weights twice."""
    torch.manual_seed(4)
    model = nn.Linear(16, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    chance = torch.Generator().manual_seed(5)
    with watch(model, optimizer, name=f"saves {saves}", total_steps=300) as monitor:
        for step in range(300):
            x = torch.randn(32, 16, generator=chance)
            optimizer.zero_grad()
            loss = F.mse_loss(model(x).squeeze(1), x.sum(1) + torch.randn(32, generator=chance))
            loss.backward()
            optimizer.step()
            CLOCK.work(15.0)
            monitor.step(loss)
            if saves and step in (150, 299):
                torch.save(model.state_dict(), io.BytesIO())
    return str(monitor.run_id)


def parts() -> str:
    """Accumulates 24 micro-batches a step, though their gradients are nearly the same: the answer is far off."""
    torch.manual_seed(6)
    model = nn.Linear(16, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002)
    chance = torch.Generator().manual_seed(7)
    with watch(model, optimizer, name="24 parts", total_steps=110) as monitor:
        for _ in range(110):
            optimizer.zero_grad()
            for part in range(24):
                x = torch.randn(16, 16, generator=chance)
                loss = F.mse_loss(model(x).squeeze(1), 4 * x.sum(1) + 30)
                (loss / 24).backward()
                if part == 23:
                    optimizer.step()
                CLOCK.work(0.01)
                monitor.step(loss)
    return str(monitor.run_id)


CASES: dict[str, Callable[[], str]] = {
    "healthy machine": machine,
    "leaks": lambda: machine(leaks=True),
    "starves": lambda: machine(starves=True),
    "healthy words": words,
    "slows down": lambda: words(pace=lambda step: 0.05 + step * 4e-5, steps=1900),
    "stalls": lambda: words(pace=lambda step: 0.05 if step % 25 else 0.6, steps=500),
    "healthy hours": lambda: hours(saves=True),
    "hours without a save": lambda: hours(saves=False),
    "jumps": lambda: words(jumps=True),
    "24 parts": parts,
}


def main(cases: list[str]) -> None:
    """Runs them one after the other."""
    torch.set_num_threads(1)
    a_small_machine()
    a_gpu()
    watch_the_sampler()
    print(json.dumps({case: CASES[case]() for case in cases}))


if __name__ == "__main__":
    main(sys.argv[1:])
