"""GW108, the simple baseline: what a constant answer, a linear model and the nearest class mean reach on the same data.

Before training it only measures. Whether the network ends up above it is judged at the end of the run, by the rule of
the same code. Not for: fitting (baseline_fit).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from client_hook.guard import attempted
from client_hook.preflight import baseline_fit
from client_hook.preflight.answers import Answer
from client_hook.preflight.baseline_fit import LossOf, Score
from client_hook.preflight.baseline_rows import NoTable, Table, read_table, with_head
from client_hook.preflight.checks import Budget, not_evaluated, passed
from client_hook.preflight.errors import PreflightError
from client_hook.preflight.results import CheckResult, limit
from client_hook.preflight.subject import Subject

READING_SHARE = 0.3  # of the time that is left may be spent on reading samples
ALIKE = 0.01  # relative: so near, a loss that we compute is the one that the model returns
RELATED = 2.0  # times: a loss with smoothing or weights is still about the same targets
METRICS = {"classes": "accuracy", "binary": "accuracy", "numbers": "r2"}
_WORDS = {"accuracy": "accuracy", "r2": "R²"}


class Check:
    """Measures what simple models reach, so that the network has something to beat."""

    code, name, passes = "GW108", "loss-above-simple-model", 2

    def run(self, subject: Subject, budget: Budget) -> CheckResult:
        """Fits them on held-out samples of the loader with the loss of the training."""
        with subject.mode(False), torch.no_grad():
            answer = subject.run()
        table, error = attempted(read_table, subject, answer, monotonic() + READING_SHARE * max(budget.left, 0.0))
        if isinstance(error, NoTable):
            return not_evaluated(self, f"{error}.")
        if error is not None:
            raise error
        said, error = attempted(loss_for, subject, answer, table)
        if isinstance(error, NoTable):
            return not_evaluated(self, f"{error}.")
        if error is not None:
            raise error
        loss_of, whose = said
        table = with_head(table, loss_of)
        budget.at(0.3)
        until = monotonic() + max(budget.left, 0.0)
        found = scores(table, loss_of, subject.batch_size, until, lambda done: budget.at(0.3 + 0.7 * done))
        if "constant" not in found:
            return not_evaluated(self, f"the loss of a constant answer is no finite number ({whose}).")
        return passed(self, _message(found, table, whose), **_told(found, table, whose))


def loss_for(subject: Subject, answer: Answer, table: Table) -> tuple[LossOf, str]:
    """Gives the loss for simple models: the user's own, or a usual one that agrees with what the model returned."""
    device = subject.device
    if subject.loss_fn is not None and isinstance(answer.output, Tensor):
        return (lambda raw, y: subject.loss_of(raw.to(device), y.to(device)).loss.cpu()), "your loss function"
    usual = _usual(table.layout.kind)
    output, targets = answer.main, subject.targets()
    if output is None or not isinstance(targets, Tensor):
        raise PreflightError("loss: the model's answer has no output to compare with")
    mine, theirs = float(usual(output.float(), targets)), float(answer.loss)
    if abs(mine - theirs) <= ALIKE * abs(mine):
        return usual, "the usual loss, which agrees with the model's own"
    if not mine / RELATED <= theirs <= mine * RELATED:
        raise NoTable(f"the model's own loss of {theirs:.4g} is no usual one of its targets (that is {mine:.4g})")
    return usual, ""


def scores(
    table: Table, loss_of: LossOf, batch_size: int, until: float, show: Callable[[float], Any] = lambda _: None
) -> dict[str, Score]:
    """Scores each simple model that fits the table; those that the time did not suffice for are missing."""
    kinds: list[tuple[str, Any, tuple[float, ...]]] = [("constant", baseline_fit.constant, (0.0,))]
    if table.words:
        kinds.append(("linear", baseline_fit.pairs, baseline_fit.PSEUDO_COUNTS))
    else:
        kinds.append(("linear", baseline_fit.linear, baseline_fit.PENALTIES))
    found: dict[str, Score] = {}
    for number, (name, fit, penalties) in enumerate(kinds):
        got = baseline_fit.score(table, loss_of, batch_size, fit, until, penalties)
        if got is not None:
            found[name] = got
        show((number + 1) / len(kinds))
    means = baseline_fit.class_means(table)
    if means is not None:
        found["class means"] = Score(math.nan, math.nan, means)
    return found


def _usual(kind: str) -> LossOf:
    if kind == "classes":
        return F.cross_entropy
    if kind == "binary":
        return lambda raw, y: F.binary_cross_entropy_with_logits(raw, y.to(raw.dtype).reshape(raw.shape))
    return lambda raw, y: F.mse_loss(raw, y.to(raw.dtype).reshape(raw.shape))


def _message(found: dict[str, Score], table: Table, whose: str) -> str:
    metric = _WORDS[METRICS[table.layout.kind]]
    names = {"constant": "a constant answer", "class means": "the nearest class mean"}
    names["linear"] = "counting which word follows which" if table.words else "a linear model"
    parts = []
    for name, item in found.items():
        loss = f"a loss of {item.loss:.4g}" if whose and math.isfinite(item.loss) else ""
        reached = f"{metric} {item.metric:.3g}" if name != "constant" or metric == "accuracy" else ""
        parts.append(f"{names[name]} gets {' and '.join(filter(None, (loss, reached)))}")
    return f"On held-out samples {', '.join(parts)}: your network should do better"


def _told(found: dict[str, Score], table: Table, whose: str) -> dict[str, Any]:
    metric = METRICS[table.layout.kind]
    numbers: dict[str, float] = {"samples": float(len(table))}
    for name, item in found.items():
        word = name.replace(" ", "_")
        if math.isfinite(item.loss) and whose:
            numbers[f"{word}_loss"], numbers[f"{word}_loss_error"] = item.loss, item.error
        if math.isfinite(item.metric):
            numbers[f"{word}_{metric}"] = item.metric
    strings = {
        "metric": metric,
        "features": table.features,
        "loss": whose or "not comparable with the model's own loss",
    }
    source = "ours: a third of the samples held out in turn, so that a model of many features is not praised for memory"
    return {"numbers": numbers, "strings": strings, "thresholds": [limit("folds", baseline_fit.FOLDS, "folds", source)]}
