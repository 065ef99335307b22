"""GW102: training without the inputs does as well as with them, or one of several inputs is never used."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from client_hook.preflight import trees
from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.results import CheckResult, curve, limit
from client_hook.preflight.subject import Subject
from client_hook.preflight.training import train, usual_optimizer

STEPS, LAST, BETTER, ERRORS, USED, TRIAL = 200, 50, 0.02, 3.0, 1e-6, 20
LIMITS = [
    limit("better", BETTER, "of the loss without inputs", "Karpathy's recipe has the idea; the number is ours"),
    limit("noise", ERRORS, "standard errors of the difference", "ours"),
    limit("used", USED, "of the output's size", "exact but for rounding"),
]


class Check:
    """Changes each input alone; then trains 200 steps on real inputs and 200 on zeros."""

    code, name, passes = "GW102", "input-independent-baseline", 425

    def run(self, subject: Subject, budget: Budget) -> CheckResult:
        """Judges what is ignored exactly first, then the two trainings."""
        ignored, changes = self._ignored(subject, budget)
        numbers = {f"change by {name or 'inputs'}": change for name, change in changes.items()}
        more: dict[str, Any] = {"numbers": numbers, "thresholds": LIMITS}
        if ignored:
            what = " and ".join(f"`{name}`" for name in ignored) if len(changes) > 1 else "the inputs"
            return found(
                self,
                "warning",
                f"the answers do not depend on {what} at all",
                "Look for detach(), a wrong tensor, a dead first layer, or an argument that forward ignores.",
                **more,
            )
        targets = subject.targets()
        if targets is None or not _apart(subject):
            return not_evaluated(self, "the inputs are the targets too: without them nothing is left to learn", **more)
        batches = subject.batches()
        blank = [subject.with_inputs(trees.convert(subject.inputs(batch), _blank), batch) for batch in batches]
        real = train(subject, batches, STEPS, budget)
        zero = train(subject, blank, STEPS, budget) if len(real) == STEPS else []
        more["curves"] = {
            "loss with the inputs": curve(range(len(real)), real, "step", "loss"),
            "loss with inputs of 0": curve(range(len(zero)), zero, "step", "loss"),
        }
        if min(len(real), len(zero)) < STEPS:
            why = "its time ended" if budget.over else "the loss became infinite or no number"
            return not_evaluated(self, f"{why} after {len(real) + len(zero)} of {2 * STEPS} steps", **more)
        (with_it, error), (without, other) = _level(real[-LAST:]), _level(zero[-LAST:])
        numbers |= {"with inputs": with_it, "without": without}
        margin = max(BETTER * abs(without), ERRORS * math.hypot(error, other))
        words = f"loss {with_it:.3g} with the inputs, {without:.3g} with zeros instead, after {STEPS} steps"
        if with_it <= without - margin:
            return passed(self, words, **more)
        if abs(real[0] - with_it) <= max(ERRORS * error, BETTER * abs(real[0])):
            return not_evaluated(self, f"nothing was learned yet in {STEPS} steps ({words})", **more)
        return found(
            self,
            "info",
            words,
            "It sees its inputs but gains nothing yet: too few steps, or inputs and labels do not belong together.",
            **more,
        )

    def _ignored(self, subject: Subject, budget: Budget) -> tuple[list[str], dict[str, float]]:
        """Trains a little (a head may start at zero), then changes one input after another."""
        optimizer = usual_optimizer(subject)
        with subject.mode(True, dropout=False):
            for batch in (subject.batches() * TRIAL)[:TRIAL]:
                optimizer.zero_grad()
                subject.run(batch).loss.backward()
                optimizer.step()
                if budget.over:
                    break
        changes: dict[str, float] = {}
        with subject.mode(False), torch.no_grad():
            before = _answers(subject, subject.batch)
            for name, item in trees.leaves(subject.inputs()):
                others = [other for other in _others(item) if not torch.equal(other, item)]
                if before is None or not others:
                    continue
                size = before.square().mean().sqrt().clamp(min=1e-12)
                after = [
                    _answers(subject, subject.with_inputs(trees.replace(subject.inputs(), name, other)))
                    for other in others
                ]
                moved = [((other - before).abs().max() / size).item() for other in after if other is not None]
                if moved:
                    changes[name] = max(moved)
        for parameter in subject.parameters.values():
            parameter.grad = None
        return [name for name, change in changes.items() if not change > USED], changes


def _answers(subject: Subject, batch: Any) -> Tensor | None:
    parts = [item.double().flatten() for _, item in trees.leaves(subject.run(batch).output) if item.is_floating_point()]
    return torch.cat(parts) if parts else None


def _others(item: Tensor) -> list[Tensor]:
    """Makes other values that the input could have had."""
    swapped = [item.roll(1, 0)] if item.ndim else []
    if item.is_floating_point():
        return [*swapped, torch.zeros_like(item), torch.randn_like(item)]
    return [*swapped, ~item if item.dtype == torch.bool else torch.zeros_like(item)]


def _blank(item: Tensor) -> Tensor:
    return item if item.dtype == torch.bool else torch.zeros_like(item)


def _apart(subject: Subject) -> bool:
    """Says whether the targets are something else than the inputs."""
    inputs = [item for _, item in trees.leaves(subject.inputs())]
    return not any(
        item.shape == target.shape and torch.equal(item, target)
        for item in inputs
        for _, target in trees.leaves(subject.targets())
    )


def _level(losses: list[float]) -> tuple[float, float]:
    mean = sum(losses) / len(losses)
    spread = math.sqrt(sum((loss - mean) ** 2 for loss in losses) / max(len(losses) - 1, 1))
    return mean, spread / math.sqrt(len(losses))
