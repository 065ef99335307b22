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
        fewer = subject.rows(torch.arange(count - 1, device=subject.device))
        with subject.mode(False), torch.no_grad():
            answers = [_leaves(subject, batch) for batch in (before, before, after, fewer)]
        dims = [_counts(item, less, count) for item, less in zip(answers[0], answers.pop(), strict=False)]
        first, again, changed = (_by_sample(answer, dims, count) for answer in answers)
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


def _leaves(subject: Subject, batch: object) -> list[Tensor]:
    return [item for _, item in trees.leaves(subject.run(batch).output)]


def _counts(item: Tensor, fewer: Tensor, count: int) -> int | None:
    """Finds the dimension that counts the samples: the one that shrinks with the batch. (Features may be as many.)"""
    if not item.is_floating_point() or item.ndim != fewer.ndim:
        return None
    differ = [at for at in range(item.ndim) if item.shape[at] != fewer.shape[at]]
    return differ[0] if len(differ) == 1 and item.shape[differ[0]] == count else None


def _by_sample(answer: list[Tensor], dims: list[int | None], count: int) -> Tensor | None:
    """Gives what the model answers, one row a sample."""
    rows = [
        item.movedim(dim, 0).reshape(count, -1).double()
        for item, dim in zip(answer, dims, strict=False)
        if dim is not None
    ]
    return torch.cat(rows, 1) if rows else None
