"""GW111: batches that hold one class each, because nobody shuffled."""

from __future__ import annotations

import torch
from torch import Tensor

from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.results import CheckResult, limit
from client_hook.preflight.subject import Subject

SHARE, CLASS_SHARE, FEWEST = 0.5, 0.1, 8
LIMITS = [limit("entropy", SHARE, "of the entropy of all labels", "ours: a random batch loses (C−1)/2B nats")]


class Check:
    """Compares the labels within batches with the labels of all."""

    code, name, passes = "GW111", "sorted-batches", 0

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges by entropies."""
        parts = [item for batch in subject.batches() if isinstance(item := subject.targets(batch), Tensor)]
        if any(item.is_floating_point() or item.ndim != 1 for item in parts) or len(parts) < 2:
            return not_evaluated(self, "needs a train_loader with one class id a sample")
        every = torch.cat(parts)
        classes, counts = every.unique(return_counts=True)
        frequent = int((counts >= CLASS_SHARE * len(every)).sum())
        size = min(len(item) for item in parts)
        if frequent < 2 or size < max(FEWEST, len(classes) / 2):
            return not_evaluated(self, f"{len(classes)} classes in batches of {size} say nothing about the order")
        within = sorted(_entropy(item) for item in parts)[len(parts) // 2]
        overall = _entropy(every)
        numbers = {"within a batch": within, "overall": overall}
        if within < SHARE * overall:
            return found(
                self,
                "warning",
                f"batches are sorted: their labels have an entropy of {within:.2g}, all labels {overall:.2g}",
                "Pass shuffle=True to the DataLoader, or shuffle where the data set is made.",
                numbers=numbers,
                thresholds=LIMITS,
            )
        return passed(
            self, f"labels are mixed: entropy {within:.2g} of {overall:.2g} nats", numbers=numbers, thresholds=LIMITS
        )


def _entropy(labels: Tensor) -> float:
    shares = labels.unique(return_counts=True)[1].double() / len(labels)
    return abs(float(-(shares * shares.log()).sum()))
