"""GW101: the model cannot learn eight fixed samples by heart."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from client_hook.preflight import trees
from client_hook.preflight.answers import Answer
from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.loss_seen import REGRESSION, LossCall, watched
from client_hook.preflight.results import CheckResult, curve, limit
from client_hook.preflight.subject import Subject
from client_hook.preflight.training import rate_of, train

SAMPLES, DENSE, STEPS, LEFT, LEFT_IF_RIGHT, MOVED = 8, 16, 300, 0.05, 0.3, 0.1
MOST_OF_IT, STILL = 0.75, 0.9  # on its way: so much is done, and the last third of the steps took a tenth of the rest
LIMITS = [
    limit("left", LEFT, "of the way from the first loss to the lowest", "ours; TheDeepChecker asks for a loss of 1e-5"),
    limit("left, all right", LEFT_IF_RIGHT, "of the way, where every class is right", "ours"),
    limit("moved", MOVED, "of the way", "ours: for a loss whose lowest value is not known"),
]


class Check:
    """Trains up to 300 steps with the user's optimizer, then at other rates and with Adam where that failed."""

    code, name, passes, few = "GW101", "overfit-tiny-batch", 300, True

    def run(self, subject: Subject, budget: Budget) -> CheckResult:
        """Judges the best loss against the lowest that any output could reach."""
        if subject.batch_dim is None and subject.batch_size:
            return not_evaluated(
                self, "which dimension counts the samples cannot be told: sequence first or batch first"
            )
        output = subject.run().main
        count = min(DENSE if output is not None and output.ndim > 2 else SAMPLES, subject.batch_size)
        batch = subject.rows(torch.arange(count, device=subject.device)) if count else subject.batch
        with subject.mode(True, dropout=False):
            answer, call = watched(lambda: subject.run(batch))
        known = call is not None and (
            call.function in REGRESSION or call.function.startswith(("cross", "binary", "nll"))
        )
        groups = _equal_samples(subject, batch, count)
        floor = call.floor(groups) if call is not None and known else 0.0
        first = answer.loss.item()
        free = sum(item.numel() for item in subject.parameters.values())
        wanted = call.input.numel() if call is not None else count
        numbers = {"samples": float(count), "first": first, "lowest possible": floor}

        def learned(loss: float, answer: Answer | None) -> bool:
            left = (loss - floor) / max(first - floor, 1e-12)
            return left <= LEFT or (left <= LEFT_IF_RIGHT and call is not None and _all_right(answer, call))

        if learned(first, answer):
            return passed(
                self, f"it knows {count} samples already (loss {first:.3g})", numbers=numbers, thresholds=LIMITS
            )
        rate = rate_of(subject)
        own = f"lr {rate:g}" if rate is not None else "Adam, 0.001"
        ways: list[tuple[str, float | None]] = [(own, 1.0)]
        if rate is not None:
            ways += [(f"lr {rate * 10:.3g}", 10.0), (f"lr {rate / 10:.3g}", 0.1), ("Adam, 0.001", None)]
        curves: dict[str, Any] = {}
        best, way, success = first, own, False
        for index, (words, factor) in enumerate(ways):
            done: list[bool] = []
            losses = train(
                subject,
                [batch],
                STEPS,
                budget,
                factor=factor,
                until=lambda loss, answer, done=done: learned(loss, answer) and not done.append(True),  # type: ignore[misc]
            )
            curves[words] = curve(
                range(len(losses)),
                losses,
                "step",
                f"loss of {count} samples",
                log=min(losses) > 0,
                marks=[{"y": floor, "label": "lowest possible"}] if known else [],
            )
            finite = [loss for loss in losses if abs(loss) < float("inf")]
            best = min([best, *finite])
            if done:
                success, way = True, words
                break
            if budget.over:
                break
            if index == 0:
                numbers["last"] = losses[-1]
        numbers["best"] = best
        more: dict[str, Any] = {"numbers": numbers, "curves": curves, "thresholds": LIMITS, "strings": {"way": way}}
        if success and way == own:
            right = ", and every answer is right" if best - floor > LEFT * max(first - floor, 1e-12) else ""
            return passed(
                self,
                f"{count} samples are learned: loss {first:.3g} to {best:.3g} in {len(losses)} steps{right}",
                **more,
            )
        if success:
            return self._rate_is_off(numbers, own, way, count, more)
        if budget.over:
            return not_evaluated(self, f"its time ended at a loss of {best:.3g} (first {first:.3g})", **more)
        share = (first - best) / max(first - floor, 1e-12)
        if not known and share > MOVED:
            return passed(
                self, f"the loss of {count} samples falls by {share:.0%}; its lowest value is not known", **more
            )
        if known and share > MOST_OF_IT and any(_falls(item["y"], floor) for item in curves.values()):
            return found(
                self,
                "info",
                f"{count} samples are not learned in {STEPS} steps, but the loss is on its way: {first:.3g} to "
                f"{best:.3g}, and still falling ({floor:.3g} is possible)",
                "Fine where the training is long; more capacity or a higher learning rate gets there earlier.",
                **more,
            )
        if wanted > free:
            return not_evaluated(
                self, f"{free} parameters cannot hold {wanted} answers (loss {first:.3g} to {best:.3g})", **more
            )
        return found(
            self,
            "error",
            f"{count} samples are not learned in {STEPS} steps: the loss goes from {first:.3g} to {best:.3g}, "
            f"{floor:.3g} is possible",
            "Check that inputs and labels belong together, the loss's arguments, frozen or dead layers; then capacity.",
            **more,
        )

    def _rate_is_off(
        self, numbers: dict[str, float], own: str, way: str, count: int, more: dict[str, Any]
    ) -> CheckResult:
        """Says that the model can learn, only not so: too fast is a fault, too slow for 300 steps is a remark."""
        last = numbers.get("last", 0.0)
        broke = not last <= numbers["first"]
        more["strings"] |= {"cause": "GW411 lr-too-high" if broke else "GW412 lr-too-low"}
        return found(
            self,
            "warning" if broke else "info",
            f"{count} samples are learned with {way}, but not in {STEPS} steps with {own} "
            f"(loss {numbers['first']:.3g} to {last:.3g})",
            "Lower the learning rate; the LR range test shows how far."
            if broke
            else "Fine if the training is long; else raise the learning rate (the LR range test shows how far).",
            **more,
        )


def _falls(losses: list[float], floor: float) -> bool:
    """Says whether the last third of the steps went on towards the floor."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    at = 2 * len(finite) // 3
    return at > 0 and min(finite[at:]) - floor < STILL * (min(finite[:at]) - floor)


def _all_right(answer: Answer | None, call: LossCall) -> bool:
    output = answer.main if answer is not None else None
    if output is None or call.target.is_floating_point() or call.classes is None:
        return False
    output = output.detach()
    if output.shape != call.input.shape:
        output = (
            output.reshape(call.input.shape)
            if output.numel() == call.input.numel() and output.shape[-1] == call.classes
            else output
        )
    if output.shape != call.input.shape:
        return False
    counted = call.target != call.arguments.get("ignore_index", -100)
    return bool((output.argmax(1 if output.ndim > 1 else 0) == call.target)[counted].all())


def _equal_samples(subject: Subject, batch: Any, count: int) -> Tensor | None:
    """Numbers the samples so that equal inputs have the same number: no model can answer them differently."""
    rows = [
        item.detach().movedim(subject.batch_dim or 0, 0).reshape(count, -1).double()
        for _, item in trees.leaves(subject.inputs(batch))
        if item.ndim > (subject.batch_dim or 0) and item.shape[subject.batch_dim or 0] == count
    ]
    return torch.cat(rows, 1).unique(dim=0, return_inverse=True)[1] if rows else None
