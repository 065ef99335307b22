"""Holds the limits of a rate that rewrites its weights, and how such a finding is said. Not for: finding one."""

from __future__ import annotations

from dataclasses import dataclass

from server.domain.findings import Evidence, Severity, Verdict
from server.rules.base import threshold

START = 20  # samples of the early look
AFTER = 20  # samples after a large step in which the loss may answer
ANSWERS = 3  # of them, so that one noisy batch is no answer
FAR_TOO_LARGE, REPLACED = 0.3, 1.0  # of the weights, in one step


@dataclass(frozen=True)
class RateLimits:
    """How large a step may be, and what answers one that is too large."""

    rewrite: float = threshold(
        0.3, unit="of the weights, per step", low=0.01, high=10.0, source="ours: a third of the weights in one step"
    )
    rewrite_twice: float = threshold(
        0.5, unit="of the weights, per step", low=0.01, high=10.0, source="ours: twice in ten steps"
    )
    moved: float = threshold(
        0.5,
        unit="of the weights' size, in fewer than 20 samples",
        low=0.1,
        high=10.0,
        source="ours: half of the start, before the units died",
    )
    loss_answer: float = threshold(
        1.2, unit="times the first loss", low=1.0, high=100.0, source="ours: beyond the noise of a batch"
    )
    blow_up: float = threshold(
        10.0, unit="times the first loss", low=1.5, high=1e6, source="ours: no healthy start does that"
    )
    blow_up_update: float = threshold(
        0.01, unit="of the weights, per step", low=1e-5, high=1.0, source="ours: else the data did it"
    )
    harm: float = threshold(
        0.03,
        unit="of the weights, per step",
        low=1e-4,
        high=1.0,
        source="ours: ten times a usual step, with a second witness",
    )
    late: float = threshold(
        0.1, unit="of the weights, per step", low=1e-3, high=10.0, relax="down", source="TheDeepChecker, traintools"
    )
    equilibria: float = threshold(
        20.0, unit="times the equilibrium", low=1.0, high=1000.0, source="ours: a factor beyond any schedule"
    )
    late_samples: int = threshold(50, unit="samples of the window", low=5, high=200, source="ours: a quarter of 200")
    marks: int = threshold(3, unit="jumps of the gradient norm", low=1, high=100, source="as gradient-spike")
    floor: float = threshold(
        0.1,
        unit="of the first losses",
        low=0.0,
        high=1.0,
        source="ours: near zero loss small weights make U large",
    )
    scores: float = threshold(
        100.0, unit="largest |attention score|", low=10.0, high=1e5, source="as attention-logit-growth: Kimi K2"
    )
    early_share: float = threshold(
        0.2, unit="of the run", low=0.01, high=1.0, source="ours: later blow-ups are divergence"
    )


def divisor(update_ratio: float) -> str:
    """Says by how much the rate is too high, of steps that change the weights by so much: near 0.01 is much already."""
    return "3 to 10" if update_ratio < FAR_TOO_LARGE else "10 to 30" if update_ratio < REPLACED else "30 to 100"


def rewrites(severity: Severity, step: int, message: str, numbers: dict[str, float], limit: float) -> Verdict:
    """Says that steps from one on were too large, and what to do."""
    return Verdict(
        severity=severity,
        first_step=step,
        message=message,
        advice=(
            f"Divide `lr` by {divisor(numbers.get('update_ratio', 0.0))} where the optimizer is made, and warm up over "
            "the first 1 to 5 % of the steps (torch.optim.lr_scheduler.LinearLR). "
            "A range test over 100 steps (lr from 1e-7 up, until the loss turns) shows where the limit is."
        ),
        evidence=Evidence(numbers=numbers, series=("loss",), limit=limit),
        at_once=severity is Severity.ERROR,
    )
