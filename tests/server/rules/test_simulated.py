"""Simulated healthy losses of 4,000 samples: power law, drops of the learning rate, heavy noise, interpolation to zero,
warm restarts, Student-t noise. No rule may raise a warning on them."""

from __future__ import annotations

import numpy as np
import pytest

from server.diagnosis.engine import Engine
from server.domain.findings import Severity
from server.rules.registry import load_rules

COUNT = 4000
RULES = [item.rule for item in load_rules()]
STEPS = np.arange(COUNT)


def lm(chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return 2.0 + 8.0 * (STEPS + 10.0) ** -0.35 + chance.normal(0, 0.05, COUNT), np.full(COUNT, 3e-4)


def cifar(chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    stage = np.digitize(STEPS, [1800, 3000])
    level = np.array([0.9, 0.45, 0.3])[stage] + 1.4 * np.exp(-STEPS / 300)
    return level * np.exp(chance.normal(0, 0.18, COUNT)), np.array([0.1, 0.01, 0.001])[stage]


def noisy(chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    level = 0.8 + 1.5 * np.exp(-STEPS / 600)
    return level * np.exp(chance.normal(0, 0.5, COUNT)), np.full(COUNT, 1e-3)


def interpolation(chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    level = 2.3 * np.exp(-STEPS / 400) + 1e-4
    return level * np.exp(chance.normal(0, 0.4, COUNT)), np.full(COUNT, 0.05)


def restarts(chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    phase = (STEPS % 1000) / 1000
    rate = 0.05 * (1 + np.cos(np.pi * phase))
    level = 0.6 + 1.6 * np.exp(-STEPS / 700) + 0.25 * rate / 0.1
    return level + chance.normal(0, 0.06, COUNT), rate


def heavy(chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    level = 1.0 + 2.0 * np.exp(-STEPS / 500)
    return np.maximum(level + 0.08 * chance.standard_t(3, COUNT), 0.05), np.full(COUNT, 1e-3)


@pytest.mark.parametrize("kind", [lm, cifar, noisy, interpolation, restarts, heavy])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_healthy_loss_raises_no_warning(kind, seed: int) -> None:
    losses, rates = kind(np.random.default_rng(seed))
    engine = Engine(RULES, planned=COUNT)
    engine.evidence.add(("loss",), STEPS, losses[None, :])
    engine.evidence.add(("lr/0",), STEPS, rates[None, :])
    if kind is restarts:
        engine.evidence.add_fact("schedulers", -1, [{"type": "CosineAnnealingWarmRestarts", "cyclic": True}])
    engine.evidence.settle(COUNT - 1)
    engine.advance()
    engine.finish()
    told = [item for item in engine.findings if item.verdict.severity is not Severity.INFO]
    assert [f"{item.code} at {item.raised_step}: {item.verdict.message}" for item in told] == []
