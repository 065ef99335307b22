"""GW104: what a sequence model says about a position changes with later tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from client_hook.preflight import trees
from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.results import CheckResult, curve, limit
from client_hook.preflight.subject import Subject

CHANGE, NOISE, SHIFTED = 1e-3, 100.0, 0.99
LIMITS = [
    limit("change", CHANGE, "of the output's size", "ours"),
    limit("noise", NOISE, "times the difference of two equal passes", "ours"),
]


class Check:
    """Replaces the second half of every sequence, and looks at the answers for the first half."""

    code, name, passes = "GW104", "future-leak", 4

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges causal models: declared, or trained on the next token."""
        place, tokens = _sequence(subject)
        if tokens is None:
            return not_evaluated(self, "not a sequence model")
        causal = subject.causal if subject.causal is not None else _predicts_next(subject, tokens)
        if not causal:
            return not_evaluated(self, "not declared causal (causal=True), and the targets are not the next tokens")
        length = tokens.shape[1]
        half = length // 2
        changed = tokens.clone()
        changed[:, half:] = tokens.roll(1, 0)[:, half:].flip(1)
        if torch.equal(changed, tokens):
            changed[:, half:] = tokens[:, :1]
        if torch.equal(changed, tokens):
            return not_evaluated(self, "all tokens are the same")
        after = subject.with_inputs(trees.replace(subject.inputs(), place, changed))
        with subject.mode(False), torch.no_grad():
            first, again, other = (
                _by_position(subject, batch, length) for batch in (subject.batch, subject.batch, after)
            )
        if not first:
            return not_evaluated(self, "no output has a value for each position")
        worst, noise, line = min(
            (_changes(one, same, new, half) for one, same, new in zip(first, again, other, strict=True)),
            key=lambda item: item[0],
        )
        allowed = max(CHANGE, NOISE * noise)
        curves = {
            "change by position": curve(
                range(length),
                line,
                "position",
                "relative change",
                log=True,
                marks=[{"x": half, "label": "changed from here"}, {"y": allowed, "label": "limit"}],
            )
        }
        numbers = {"change": worst, "noise": noise, "position": float(half)}
        if worst > allowed:
            return found(
                self,
                "error",
                f"answers before position {half} change by {worst:.2g} of their size when later tokens change",
                "The causal mask is missing, transposed or not used; or something normalises over time.",
                numbers=numbers,
                curves=curves,
                thresholds=LIMITS,
            )
        return passed(
            self,
            f"answers before position {half} do not depend on later tokens (change {worst:.1g})",
            numbers=numbers,
            curves=curves,
            thresholds=LIMITS,
        )


def _sequence(subject: Subject) -> tuple[str, Tensor | None]:
    """Finds the input with a position in dimension 1: tokens, or (where causal is declared) rows of numbers."""
    for place, item in trees.leaves(subject.inputs()):
        whole = not item.is_floating_point() and item.ndim == 2 and item.dtype != torch.bool
        if (whole or (subject.causal and item.ndim == 3)) and item.shape[1] >= 4 and "mask" not in place:
            return place, item
    return "", None


def _predicts_next(subject: Subject, tokens: Tensor) -> bool:
    targets: Any = subject.targets()
    if not isinstance(targets, Tensor) or targets.shape != tokens.shape:
        return False
    if torch.equal(targets, tokens):  # a model that shifts by itself says so in its name
        return any(word in type(subject.model).__name__ for word in ("CausalLM", "LMHead", "GPT"))
    return (targets[:, :-1] == tokens[:, 1:]).double().mean().item() >= SHIFTED


def _by_position(subject: Subject, batch: Any, length: int) -> list[Tensor]:
    """Gives the output with positions first, once for each dimension that may count them."""
    output = subject.run(batch).main
    if output is None:
        return []
    dims = [at for at in range(1, output.ndim) if output.shape[at] == length]
    return [output.movedim(at, 0).reshape(length, -1).double() for at in dims]


def _changes(first: Tensor, again: Tensor, other: Tensor, half: int) -> tuple[float, float, list[float]]:
    size = first.square().mean().sqrt().clamp(min=1e-12)
    line = (other - first).abs().amax(1) / size
    noise = ((again - first).abs().amax() / size).item()
    return line[:half].max().item(), noise, line.tolist()
