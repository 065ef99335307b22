"""GW315: gradients of several backwards are lost or not averaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._accumulation import Piecemeal, piecemeal
from server.rules._layers import is_adaptive, optimizers, uses_closures
from server.rules._loss_call import loss_call
from server.rules._nonfinite import scaler_active
from server.rules._offences import Habit, offences
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold


class GradientAccumulationWrong(Rule):
    """The run has an accumulation of gradients that loses or sums them

    ## What it does
    Where K ≥ 2 backwards belong to one optimizer step: an error if the gradients are cleared between them, so that only
    the last micro-batch counts; a warning (an info under Adam-like optimizers) if a mean loss is backpropagated K times
    without being divided by about K. A backward that also reaches an input (adversarial training, saliency) is no
    micro-batch: what it leaves in the weights' gradients is to be cleared. Nor are gradients lost that somebody
    collects and puts together by hand (PCGrad). An error too where a loss that is divided by K is followed by a step of
    its own, and all but every K-th of the steps begin with gradients that nothing cleared: step() slipped out of the
    condition. A last window of an epoch that is shorter than K and still divided by K is not looked at: how many
    backwards a step had, and what its losses were multiplied by, is kept for the newest step alone.

    ## Why it matters
    Cleared: the batch is K times smaller than you think. Summed: the step is K times larger than the learning rate
    says, and a clipping limit means something else.

    ## What you see in the chart
    Cleared: nothing, but a noisier loss. Summed: gradient norms K times those of the same run without accumulation.

    ## What to try
    - `(loss / K).backward()` K times, then `optimizer.step()`, then `optimizer.zero_grad()`, in this order.
    - A last window shorter than K: divide by the number of batches that it has.

    ## Example
    ```python
    for part in parts: optimizer.zero_grad(); loss(part).backward()               # wrong: all but the last are lost
    optimizer.zero_grad(); [(loss(part) / len(parts)).backward() for part in parts]    # right
    ```

    ## References
    - PyTorch, *Automatic Mixed Precision examples*, gradient accumulation: the loss is divided.
    - Exact test; the band 1/(2K) to 2/K for the divisor is ours.
    """

    code = "GW315"
    name = "gradient-accumulation-wrong"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 4
    chart = "gradients"
    tier = "facts"
    clears_after = 1
    stage = Stage.STRUCTURE
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How often it must be seen."""

        steps: int = threshold(
            3, unit="optimizer steps", low=1, high=100, source="one can be a seam; three are a habit"
        )
        share: float = threshold(0.9, unit="of the accumulated steps", low=0.1, high=1.0, source="ours: a habit")
        band: float = threshold(2.0, unit="times", low=1.1, high=10.0, source="ours: token-weighted means are near 1/K")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the facts `loop` and `graph`."""
        loop = window.fact("loop")
        accumulation = loop.get("accumulation") or {}
        steps, discarded = int(accumulation.get("steps") or 0), int(accumulation.get("discarded") or 0)
        if not loop:
            yield NotEvaluated("the order of calls was not seen yet", "monitor.step(loss)  # in each iteration")
            return
        apart = None if uses_closures(window) else piecemeal(window)
        if apart is not None and apart.sure:
            yield _stepped_in_between(apart)
            return
        if uses_closures(window) or steps < params.steps:
            return
        lost = next((item for item in offences(loop) if item.kind == "gradients-discarded"), None)
        habit = lost.habit(params.steps, params.share) if lost is not None else None
        if habit is None and discarded >= params.steps and discarded >= params.share * steps:
            habit = Habit(discarded, steps, 0)
        if habit is not None:
            yield say(
                Severity.ERROR,
                f"In {habit.times} of {habit.of} accumulated steps the gradients were cleared between two backwards: "
                "only the "
                "last micro-batch counts",
                "Move optimizer.zero_grad() behind optimizer.step(), so that it runs once per step and not once per "
                "micro-batch.",
                step=habit.first,
                numbers={"steps": habit.of, "discarded": habit.times},
                series=("grad_norm",),
                limit=0.0,
            )
            return
        verdict = _not_averaged(window, int(loop.get("backwards_per_step") or 0), params)
        if verdict is not None:
            yield verdict


def _stepped_in_between(found: Piecemeal) -> Verdict:
    return say(
        Severity.ERROR,
        f"The loss is divided by {found.many}, for {found.many} backwards a step, but the optimizer steps after each "
        f"of them, and in {found.missing} of {found.checked} checked steps nothing had cleared the gradients: what the "
        f"first of {found.many} micro-batches leaves is stepped along {found.many} times",
        "Move optimizer.step() to where zero_grad() is, so that both run once per accumulated step "
        f"(if (i + 1) % {found.many} == 0: optimizer.step(); optimizer.zero_grad()).",
        numbers={"micro_batches": found.many, "steps_without_clearing": found.missing, "steps_checked": found.checked},
        series=("grad_norm",),
        limit=0.0,
    )


def _not_averaged(window: Window, count: int, params: GradientAccumulationWrong.Params) -> Verdict | None:
    call = loss_call(window)
    same_loss = call is not None and call.reduction == "mean" and call.calls_per_step == count
    if (
        count < 2
        or not same_loss
        or len(optimizers(window)) != 1
        or window.gates.moving_target
        or scaler_active(window)
    ):
        return None
    factor = window.fact("graph").get("scaled_by")  # of the first step
    known = (window.fact("loop").get("accumulation") or {}).get("factor", ())
    if known != ():
        if not isinstance(known, (list, tuple)) or len(known) != 2 or known[0] != count:
            return None  # how many there are has just changed
        factor = known[1]
    if isinstance(factor, (int, float)) and 1 / (params.band * count) <= abs(factor) <= params.band / count:
        return None
    kind = str(optimizers(window)[0].get("type"))
    return say(
        Severity.INFO if is_adaptive(kind) else Severity.WARNING,
        f"{count} mean losses are backpropagated for each optimizer step and none is divided: the step is {count} "
        "times "
        "as large as the learning rate says",
        f"Write (loss / {count}).backward(), or lower the learning rate {count} times on purpose."
        + (f" {kind} cancels the factor, but clipping and weight decay do not." if is_adaptive(kind) else ""),
        numbers={"backwards_per_step": count},
        series=("grad_norm",),
        limit=1.0 / count,
    )
