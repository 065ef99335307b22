"""GW201: the first loss is far above that of a model that knows nothing."""

from __future__ import annotations

import math
from typing import Any

from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.first_loss import FirstLoss, first_loss
from client_hook.preflight.observed import observe
from client_hook.preflight.results import CheckResult, limit
from client_hook.preflight.subject import Subject

INFO, WARNING, ERROR, ERRORS = 1.0, 2.0, 8.0, 4.0
REGRESSION_WARNING, REGRESSION_ERROR, FAR_ABOVE, MATCH = 3.0, 30.0, 1.5, 0.02
LOGITS = [
    limit("info", INFO, "variance of the logits", "above He's initialisation of a usual head"),
    limit("warning", WARNING, "variance of the logits", "std √2: beyond every standard initialiser"),
    limit("error", ERROR, "variance of the logits", "ours: 5.9 instead of 2.3 for 10 classes"),
    limit("noise", ERRORS, "standard errors of a batch", "sampling of labels"),
]
AMOUNTS = [
    limit("warning", REGRESSION_WARNING, "variances of the targets", "ours: four times the error of answering 0"),
    limit("error", REGRESSION_ERROR, "variances of the targets", "ours: inputs or targets are not scaled"),
]


class Check:
    """Compares the first loss with its expectation for this loss function, these arguments and these targets."""

    code, name, passes = "GW201", "initial-loss-high", 8

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges the surplus as a variance of random outputs."""
        seen = first_loss(subject)
        if seen.expected is None or seen.unit <= 0:
            return not_evaluated(
                self, f"what an untrained model would get is not known for this loss ({seen.value:.4g})"
            )
        numbers = {"first loss": seen.value, "expected": seen.expected, "variance": seen.variance}
        more: dict[str, Any] = {
            "numbers": numbers,
            "strings": {"expected": seen.words},
            "thresholds": AMOUNTS if seen.regression else LOGITS,
        }
        words = f"the first loss is {seen.value:.4g}; untrained models start near {seen.expected:.4g} = {seen.words}"
        severity = _severity(seen)
        if severity is None:
            return passed(self, words, **more)
        if subject.pretrained:
            severity = "info"  # who loads or freezes weights has trained them before: a new head may start anywhere
        cause = _explain(subject, seen)
        advice = (
            "Standardise the targets and inputs, and scale the last layer down."
            if seen.regression
            else 'Scale the last layer down (std=0.01, bias 0), standardise the inputs, use reduction="mean".'
        )
        return found(self, severity, words + cause, advice, **more)


def _severity(seen: FirstLoss) -> str | None:
    surplus = seen.value - (seen.expected or 0.0)
    if seen.regression:
        if seen.value <= FAR_ABOVE * (seen.expected or 0.0) or seen.variance <= REGRESSION_WARNING:
            return None
        return "error" if seen.variance > REGRESSION_ERROR else "warning"
    if surplus > ERRORS * seen.spread and seen.variance > WARNING:
        return "error" if seen.variance > ERROR else "warning"
    return "info" if seen.variance > INFO else None


def _explain(subject: Subject, seen: FirstLoss) -> str:
    """Looks for a number that the first loss equals within 2 %."""
    expected = seen.expected or 0.0
    tries = [
        (expected * subject.batch_size, "summed over the batch?"),
        (expected / math.log(2), "in bits?"),
        *(
            (math.log(outputs), f"ln {outputs}, the outputs of `{name}`")
            for name, item in observe(subject).layers.items()
            if isinstance(outputs := item["arguments"].get("out_features"), int) and outputs > 1 and not seen.regression
        ),
    ]
    return next((f" ({words})" for value, words in tries if abs(seen.value - value) <= MATCH * abs(value)), "")
