"""Small real training loops for the tests of what the hook sees of a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from tests.client_hook.tape import Tape, taped

Body = Callable[[int, nn.Module, torch.optim.Optimizer], torch.Tensor]


def classifier(*extra: nn.Module) -> nn.Sequential:
    """Gives 8 inputs → 5 classes."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 5), *extra)


def batch(step: int, size: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Gives inputs and labels of a step."""
    chance = torch.Generator().manual_seed(step)
    return torch.randn(size, 8, generator=chance), torch.randint(0, 5, (size,), generator=chance)


def usual(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
    """One step as it should be."""
    inputs, labels = batch(step)
    optimizer.zero_grad()
    loss = F.cross_entropy(model(inputs), labels)
    loss.backward()
    optimizer.step()
    return loss


def train(
    body: Body = usual, *, model: nn.Module | None = None, steps: int = 12, optimizer: Any = None, **watching: Any
) -> Tape:
    """Runs the loop under `watch` and gives what reached the outbox."""
    model = model or classifier()
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    monitor, tape = taped(model, optimizer, strict=True, **watching)
    for step in range(steps):
        monitor.step(body(step, model, optimizer))
    monitor.finish(timeout=0.1)
    return tape


def last(tape: Tape, fact: str) -> Any:
    """Gives the newest fact of a name."""
    found = tape.facts(fact)
    assert found, f"no fact {fact!r}; there are {sorted({name for kind, name, _, _ in tape.records if kind == 'fact'})}"
    return found[-1]


def kinds_of(loop: Any) -> dict[str, int]:
    """Gives the offences of a fact `loop`, each with its first step."""
    return {item["kind"]: item["first_step"] for item in loop["offences"]}


def kinds(tape: Tape) -> dict[str, int]:
    """Gives the offences that a tape holds in the end."""
    return kinds_of(last(tape, "loop"))
