"""A plan gives what PyTorch does with the lines that it writes, at every step."""

from __future__ import annotations

import warnings
from itertools import product

import pytest
import torch

from server.domain.schedules import KINDS, Plan, code, spread

PLANS = [
    Plan(kind, peak, steps, warmup, floor, decay, every, factor)
    for kind, (peak, steps, warmup, floor, decay, every, factor) in product(
        KINDS,
        [
            (1e-3, 200, 20, 0.1, 0.2, 50, 0.1),
            (0.5, 97, 0, 0.0, 0.5, 10, 0.5),
            (3e-4, 50, 1, 0.25, 1.0, 7, 0.9),
            (1.0, 40, 40, 0.0, 0.1, 1, 0.99),
        ],
    )
]


def trained(plan: Plan) -> list[float]:
    """Runs the lines in a loop and notes the rate of every step."""
    names: dict[str, object] = {"torch": torch, "model": torch.nn.Linear(1, 1)}
    lines, _, step = code(plan).partition("# after each optimizer.step():\n")
    exec(lines, names)
    optimizer = names["optimizer"]
    assert isinstance(optimizer, torch.optim.Optimizer)
    rates = []
    for _ in range(plan.steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The epoch parameter in `scheduler.step", UserWarning)
            exec(step, names) if len(rates) < plan.steps else None
    return rates


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.kind}-{plan.steps}-{plan.warmup}")
def test_the_lines_do_what_is_drawn(plan: Plan) -> None:
    rates = trained(plan)
    assert [plan.rate(step) for step in range(plan.steps)] == pytest.approx(rates, rel=1e-6, abs=1e-12)
    assert max(rates) == pytest.approx(plan.peak, rel=0.1)


def test_steps_are_spread_from_the_first_to_the_last() -> None:
    assert spread(3) == [0, 1, 2]
    many = spread(1_000_000)
    assert (len(many), many[0], many[-1]) == (2_000, 0, 999_999)
    assert Plan("constant", 2.0, 10**9, 0).mean() == pytest.approx(2.0)
    assert Plan("linear", 1.0, 10**6, 0).mean() == pytest.approx(0.5, rel=1e-2)
