"""GW103: the output for one sample depends on another sample of the batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from client_hook.preflight import trees
from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.results import CheckResult, curve, limit
from client_hook.preflight.subject import Subject

MOST, LEAST, CHANGE, NOISE = 8, 2, 1e-4, 100.0
LIMITS = [
    limit(
        "change", CHANGE, "of the output's size", "ours: another layout of a batch gives about 1e-4 in low precision"
    ),
    limit("noise", NOISE, "times the difference of two equal passes", "ours"),
]


class Check:
    """Replaces one sample in evaluation mode, and looks at the answers for the others."""

    code, name, passes = "GW103", "batch-leak", 4

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges the largest relative change of an answer whose own sample stayed."""
        count = min(MOST, subject.batch_size - 1)
        if subject.batch_dim is None:
            return not_evaluated(
                self, "which dimension counts the samples cannot be told: sequence first or batch first"
            )
        if count < LEAST:
            return not_evaluated(
                self, f"needs a batch of at least {LEAST + 1} samples, this one has {subject.batch_size}"
            )
        if any(
            isinstance(item, nn.modules.batchnorm._BatchNorm) and item.running_mean is None
            for item in subject.model.modules()
        ):
            return not_evaluated(self, "a batch norm without running statistics uses the batch in evaluation too")
        before = subject.rows(torch.arange(count, device=subject.device))
        other = torch.arange(count, device=subject.device)
        other[0] = count  # a real sample from outside takes the first place
        after = subject.rows(other)
        with subject.mode(False), torch.no_grad():
            outputs = [_by_sample(subject, batch, count) for batch in (before, before, after)]
        first, again, changed = outputs
        if first is None or again is None or changed is None:
            return not_evaluated(self, "no output has a row for each sample")
        size = first[1:].square().mean(1).sqrt().clamp(min=1e-12)
        if first.abs().max() == 0:
            return not_evaluated(self, "every output is 0 at the start")
        noise = ((again - first)[1:].abs().amax(1) / size).max().item()
        changes = (changed - first)[1:].abs().amax(1) / size
        worst = changes.max().item()
        allowed = max(CHANGE, NOISE * noise)
        numbers = {"change": worst, "noise": noise, "samples": float(count)}
        curves = {
            "change of the others": curve(
                range(1, count), changes.tolist(), "sample", "relative change", marks=[{"y": allowed, "label": "limit"}]
            )
        }
        if worst > allowed:
            return found(
                self,
                "error",
                f"the answer for a sample changes by {worst:.2g} of its size when another sample is replaced",
                "Look for view/reshape where transpose is meant, softmax or mean over dim=0, batch_first.",
                numbers=numbers,
                curves=curves,
                thresholds=LIMITS,
            )
        return passed(
            self,
            f"replacing a sample changes the answers for {count - 1} others by {worst:.1g}",
            numbers=numbers,
            curves=curves,
            thresholds=LIMITS,
        )


def _by_sample(subject: Subject, batch: object, count: int) -> Tensor | None:
    """Gives what the model answers, one row a sample."""
    rows = []
    for _, item in trees.leaves(subject.run(batch).output):
        if item.is_floating_point() and item.ndim and count in item.shape:
            dims = [at for at in (subject.batch_dim or 0, 0, 1) if at < item.ndim and item.shape[at] == count]
            if dims:
                rows.append(item.movedim(dims[0], 0).reshape(count, -1).double())
    return torch.cat(rows, 1) if rows else None
