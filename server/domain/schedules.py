"""Plans of a learning rate: what each schedule gives step by step, and the lines of PyTorch that do the same.

Pure arithmetic; tests run the lines and compare every step. Not for: judging the rate of a run (server.rules).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

KINDS = {
    "cosine": "Cosine",
    "linear": "Linear",
    "one-cycle": "One cycle",
    "wsd": "Stable, then decay",
    "step": "In steps",
    "exponential": "Exponential",
    "inverse-sqrt": "Inverse square root",
    "constant": "Constant",
}
ABOUT = {
    "cosine": "Half a cosine from the peak to the floor (Loshchilov and Hutter 2017, SGDR): the usual choice where the "
    "length is known.",
    "linear": "A straight line from the peak to the floor: as good as the cosine in most comparisons, and BERT's.",
    "one-cycle": "Up and down once, from 1/25 of the peak (Smith and Topin 2018): for short trainings, large peaks.",
    "wsd": "Stays at the peak, and falls in the last part alone (Hu et al. 2024, MiniCPM): the length may be decided "
    "late.",
    "step": "Falls by a factor every so many steps, as the first ResNets did.",
    "exponential": "Falls by the same factor at every step, until the floor.",
    "inverse-sqrt": "Falls with the root of the step after the warm-up (Vaswani et al. 2017): it needs no length.",
    "constant": "Stays as it is after the warm-up: to find out whether a model learns at all.",
}
USES_FLOOR = frozenset({"cosine", "linear", "wsd", "exponential"})
USES_DECAY = frozenset({"wsd"})
USES_EVERY = frozenset({"step"})
DIV, FINAL_DIV = 25.0, 1e4  # of OneCycleLR


@dataclass(frozen=True)
class Plan:
    """A schedule: `peak` is the highest rate, `warmup` and `steps` count optimizer steps, `floor` is a share of the
    peak, `decay` the share of the steps in which "wsd" falls, `every` and `factor` are those of "step".
    """

    kind: str = "cosine"
    peak: float = 1e-3
    steps: int = 10_000
    warmup: int = 500
    floor: float = 0.0
    decay: float = 0.2
    every: int = 3_000
    factor: float = 0.1

    def rate(self, step: int) -> float:
        """Gives the rate with which step number `step`, from 0 on, is made."""
        return self.peak * _FACTORS[self.kind](self, step)

    @property
    def start(self) -> float:
        """The share of the peak with which the warm-up begins."""
        return 1 / self.warmup if self.warmup else 1.0

    @property
    def rest(self) -> int:
        """The steps after the warm-up."""
        return max(self.steps - self.warmup, 1)

    @property
    def falls_at(self) -> int:
        """The step at which "wsd" begins to fall."""
        return self.steps - max(round(self.decay * self.steps), 1)

    def mean(self) -> float:
        """Gives the mean rate of the training, over at most a few thousand steps spread evenly."""
        places = spread(self.steps)
        return math.fsum(self.rate(step) for step in places) / len(places)


def spread(steps: int, most: int = 2_000) -> list[int]:
    """Chooses steps evenly, with the first and the last."""
    if steps <= most:
        return list(range(steps))
    return [at * (steps - 1) // (most - 1) for at in range(most)]


def _warm(plan: Plan, step: int) -> float | None:
    """Gives the share of the peak in the warm-up, None behind it."""
    return plan.start + (1 - plan.start) * step / plan.warmup if step < plan.warmup else None


def _after(shape: Callable[[Plan, int], float]) -> Callable[[Plan, int], float]:
    """Puts the warm-up before a shape, which counts from its end."""

    def factor(plan: Plan, step: int) -> float:
        warm = _warm(plan, step)
        return shape(plan, step - plan.warmup) if warm is None else warm

    return factor


def _cosine(plan: Plan, step: int) -> float:
    return plan.floor + (1 - plan.floor) * (1 + math.cos(math.pi * step / plan.rest)) / 2


def _linear(plan: Plan, step: int) -> float:
    return 1 + (plan.floor - 1) * min(step / plan.rest, 1.0)


def _exponential(plan: Plan, step: int) -> float:
    return float(max(plan.floor, 1e-4) ** (step / plan.rest))


def _one_cycle(plan: Plan, step: int) -> float:
    """Computes OneCycleLR with `pct_start` = warm-up / steps and cosines."""
    low, last = 1 / DIV, 1 / DIV / FINAL_DIV
    turn = pct_start(plan) * plan.steps - 1
    if step <= turn:
        return _eased(low, 1.0, step / turn)
    return _eased(1.0, last, (step - turn) / (plan.steps - 1 - turn))


def pct_start(plan: Plan) -> float:
    """Gives the share of the steps in which one cycle rises: of 2 steps at least, and not of all."""
    return min(max(plan.warmup, 2), max(plan.steps - 1, 2)) / plan.steps


def _eased(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (math.cos(math.pi * share) + 1)


def _wsd(plan: Plan, step: int) -> float:
    warm = _warm(plan, step)
    if warm is not None:
        return warm
    fallen = (step - plan.falls_at) / (plan.steps - plan.falls_at)
    return 1 + (plan.floor - 1) * min(max(fallen, 0.0), 1.0)


def _inverse_sqrt(plan: Plan, step: int) -> float:
    first = max(plan.warmup, 1)
    return min((step + 1) / first, math.sqrt(first / (step + 1)))


_FACTORS: dict[str, Callable[[Plan, int], float]] = {
    "cosine": _after(_cosine),
    "linear": _after(_linear),
    "one-cycle": _one_cycle,
    "wsd": _wsd,
    "step": _after(lambda plan, step: plan.factor ** (step // plan.every)),
    "exponential": _after(_exponential),
    "inverse-sqrt": _inverse_sqrt,
    "constant": _after(lambda _plan, _step: 1.0),
}


def code(plan: Plan) -> str:
    """Writes the lines of PyTorch that make the schedule."""
    lines = [f"optimizer = torch.optim.AdamW(model.parameters(), lr={plan.peak:g})", *_made(plan)]
    return "\n".join(
        ["from torch.optim import lr_scheduler", "", *lines, "", "# after each optimizer.step():", "scheduler.step()"]
    )


def _made(plan: Plan) -> list[str]:
    if plan.kind == "one-cycle":
        arguments = f"max_lr={plan.peak:g}, total_steps={plan.steps}, pct_start={pct_start(plan)!r}"
        return [f"scheduler = lr_scheduler.OneCycleLR(optimizer, {arguments})"]
    if plan.kind == "inverse-sqrt":
        first = max(plan.warmup, 1)
        share = f"lambda step: min((step + 1) / {first}, ({first} / (step + 1)) ** 0.5)"
        return [f"scheduler = lr_scheduler.LambdaLR(optimizer, {share})"]
    if plan.kind == "wsd":
        return _made_wsd(plan)
    after = {
        "cosine": f"CosineAnnealingLR(optimizer, T_max={plan.rest}, eta_min={plan.floor * plan.peak:g})",
        "linear": f"LinearLR(optimizer, start_factor=1.0, end_factor={plan.floor:g}, total_iters={plan.rest})",
        "step": f"StepLR(optimizer, step_size={plan.every}, gamma={plan.factor:g})",
        "exponential": f"ExponentialLR(optimizer, gamma={max(plan.floor, 1e-4):g} ** (1 / {plan.rest}))",
        "constant": "ConstantLR(optimizer, factor=1.0)",
    }[plan.kind]
    if not plan.warmup:
        return [f"scheduler = lr_scheduler.{after}"]
    return [
        f"warmup = lr_scheduler.LinearLR(optimizer, start_factor=1 / {plan.warmup}, total_iters={plan.warmup})",
        f"after = lr_scheduler.{after}",
        f"scheduler = lr_scheduler.SequentialLR(optimizer, [warmup, after], milestones=[{plan.warmup}])",
    ]


def _made_wsd(plan: Plan) -> list[str]:
    warm = [f"    if step < {plan.warmup}:", f"        return (1 + (1 - 1 / {plan.warmup}) * step) / {plan.warmup}"]
    return [
        "",
        "def share_of_peak(step):",
        *(warm if plan.warmup else ()),
        f"    fallen = (step - {plan.falls_at}) / {plan.steps - plan.falls_at}",
        f"    return 1 + ({plan.floor:g} - 1) * min(max(fallen, 0.0), 1.0)",
        "",
        "scheduler = lr_scheduler.LambdaLR(optimizer, share_of_peak)",
    ]
