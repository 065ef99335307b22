"""GW434: the model answers otherwise in evaluation than in training, because running statistics do not fit the data."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.results import CheckResult, curve, limit
from client_hook.preflight.subject import Subject

GAP, LARGE, SPREAD, FEWEST, MOST = 0.5, 2.0, math.log(2), 32, 200
LIMITS = [
    limit("gap", GAP, "of the training loss", "as TheDeepChecker's check of the modes"),
    limit("large gap", LARGE, "of the training loss", "ours"),
    limit("variance", SPREAD, "ln of batch to running variance", "ours: a factor of two"),
]


class Check:
    """Lets running statistics settle (5 / momentum forwards), then compares both modes, dropout off."""

    code, name, passes = "GW434", "bn-train-eval-gap", 35

    def run(self, subject: Subject, budget: Budget) -> CheckResult:
        """Judges the loss, and each batch norm's variance."""
        norms = {
            name: item
            for name, item in subject.model.named_modules()
            if isinstance(item, nn.modules.batchnorm._NormBase) and item.running_var is not None and item.training
        }
        batches = subject.batches()
        variances: dict[str, list[Tensor]] = {name: [] for name in norms}
        values: dict[str, int] = {}
        for name, norm in norms.items():
            norm.register_forward_pre_hook(_measure(name, variances, values))
        needs = {name: math.ceil(5 / (item.momentum or 0.1)) for name, item in norms.items()}
        forwards = min(max(needs.values(), default=0), MOST)
        if norms:
            with subject.mode(True, dropout=False), torch.no_grad():
                for index in range(forwards):
                    subject.run(batches[index % len(batches)])
                    budget.at(index / forwards)
                    if budget.over:
                        return not_evaluated(self, f"its time ended after {index} of {forwards} forwards")
        ratios = {
            name: _log_ratio(torch.stack(seen[-len(batches) :]).mean(0), norms[name].running_var)
            for name, seen in variances.items()
            if seen and values[name] >= FEWEST and needs[name] <= forwards
        }
        with torch.no_grad():
            with subject.mode(True, dropout=False):
                train = _mean([subject.run(batch).loss for batch in batches[:5]])
            with subject.mode(False):
                evaluated = _mean([subject.run(batch).loss for batch in batches[:5]])
        gap = (evaluated - train) / max(abs(train), 1e-12)
        numbers = {"training": train, "evaluation": evaluated, "gap": gap}
        off = sorted((name for name, ratio in ratios.items() if ratio > SPREAD), key=lambda name: -ratios[name])
        curves = (
            {
                "batch against running variance": curve(
                    range(len(ratios)),
                    ratios.values(),
                    "batch norm",
                    "median |ln ratio|",
                    marks=[{"y": SPREAD, "label": "limit"}],
                )
            }
            if ratios
            else {}
        )
        more = {"numbers": numbers, "curves": curves, "thresholds": LIMITS}
        if max(needs.values(), default=0) > forwards and not off:
            return not_evaluated(self, f"the running statistics need more than {MOST} batches to settle", **more)
        if gap > GAP or off:
            where = f"; the running variance of `{off[0]}` is off {math.exp(ratios[off[0]]):.3g} times" if off else ""
            return found(
                self,
                "error" if gap > LARGE else "warning",
                f"the loss of the same batches is {train:.4g} in training and {evaluated:.4g} in evaluation{where}",
                "momentum=0.1 (not 0.9), larger batches, one batch norm for each kind of data.",
                layers=off,
                **more,
            )
        return passed(self, f"the loss is {train:.4g} in training mode and {evaluated:.4g} in evaluation mode", **more)


def _measure(name: str, variances: dict[str, list[Tensor]], values: dict[str, int]) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module.training:
            rows = inputs[0].detach().transpose(0, 1).flatten(1).float()
            variances[name].append(rows.var(1))
            values[name] = rows.shape[1]

    return hook


def _log_ratio(batch: Tensor, running: Tensor | None) -> float:
    if running is None:
        return 0.0
    alive = (batch > 1e-12) & (running > 1e-12)
    return float((batch[alive] / running[alive]).log().abs().median()) if alive.any() else 0.0


def _mean(losses: list[Tensor]) -> float:
    return sum(loss.item() for loss in losses) / len(losses)
