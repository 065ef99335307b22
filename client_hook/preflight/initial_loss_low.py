"""GW204: the first loss is below what any answer that ignores the inputs can reach."""

from __future__ import annotations

import math

import torch

from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.first_loss import first_loss
from client_hook.preflight.observed import observe
from client_hook.preflight.results import CheckResult, limit
from client_hook.preflight.subject import Subject

MARGIN, ERRORS = 0.02, 4.0
LIMITS = [limit("margin", MARGIN, "nats below the labels' entropy", "ours; the bound itself is exact (Gibbs)")]


class Check:
    """Compares the first loss with the entropy of the labels of its batches."""

    code, name, passes = "GW204", "initial-loss-low", 8

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges an untrained model alone."""
        seen = first_loss(subject)
        call = seen.call
        plain = call is not None and not call.arguments.get("weight") and call.arguments.get("reduction") == "mean"
        if seen.entropy is None or not plain or call is None:
            return not_evaluated(self, "needs a cross-entropy with class ids, averaged and unweighted")
        if subject.pretrained:
            return not_evaluated(self, "the weights were trained before")
        if call.target.numel() > 1 and torch.equal(
            call.target.flatten().cpu(), torch.arange(call.target.numel(), device="cpu")
        ):
            return not_evaluated(self, "the labels count the batch (contrastive): two views start alike")
        numbers = {"first loss": seen.value, "entropy of the labels": seen.entropy}
        margin = max(MARGIN, ERRORS / math.sqrt(max(seen.labels, 1)))
        if seen.value < seen.entropy - margin:
            fresh = observe(subject).untrained
            return found(
                self,
                "warning" if fresh else "info",
                f"the first loss is {seen.value:.4g}; what ignores the inputs cannot be below {seen.entropy:.4g}",
                "Look for the target among the inputs, labels that are not shifted, or a loss divided once too often.",
                numbers=numbers,
                thresholds=LIMITS,
            )
        return passed(
            self,
            f"the first loss {seen.value:.4g} is not below the entropy of the labels, {seen.entropy:.4g}",
            numbers=numbers,
            thresholds=LIMITS,
        )
