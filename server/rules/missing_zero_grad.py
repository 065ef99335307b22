"""GW304: gradients add up over optimizer steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.rules._accumulation import WINDOWS, piecemeal
from server.rules._layers import uses_closures
from server.rules._offences import Habit, Offence, offences
from server.rules.base import Rule, Stage, threshold


class MissingZeroGrad(Rule):
    """The run has gradients that pile up because nothing clears them

    ## What it does
    At each checked optimizer step the hook knows whether a backward since that optimizer's previous step found its
    gradients cleared. Three steps without one fire, also where they begin late. Another optimizer's backward in between
    (a generator's loss running through a discriminator) does not count, nor do several backwards before one step
    (accumulation; one whose optimizer steps after each of them is told by GW315). In a closure that an optimizer
    evaluates (LBFGS), ten backwards none of which found the gradients cleared fire. Where nothing could be checked, a
    gradient norm that grows in a straight line with the step (correlation above 0.95) to 10 times its start within 50
    samples is reported as a warning.

    ## Why it matters
    Every step then follows the sum of all gradients so far: old and wrong directions dominate, steps grow without
    limit, and the loss oscillates or explodes however small the learning rate is.

    ## What you see in the chart
    A gradient norm that climbs like a ramp from the first step on.

    ## What to try
    - Call `optimizer.zero_grad(set_to_none=True)` once per optimizer step: right before `backward()` or right after
      `step()`.
    - With two optimizers clear both: each holds its own parameters.
    - `model.zero_grad()` clears the model's parameters only, not those of a second model.

    ## Example
    ```python
    loss.backward(); optimizer.step()                           # wrong: gradients are never cleared
    optimizer.zero_grad(); loss.backward(); optimizer.step()    # right
    ```

    ## References
    - PyTorch, *Zeroing out gradients*: backward adds to `.grad`, it does not replace it.
    - Exact test; the correlation of the fallback is ours (gradients of random walks stay below 0.9 over 50 steps).
    """

    code = "GW304"
    name = "missing-zero-grad"
    severity = Severity.ERROR
    since = "0.1.0"
    version = 3
    chart = "gradients"
    tier = "facts"
    clears_after = 1
    stage = Stage.STRUCTURE
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How often it must be seen."""

        steps: int = threshold(
            3,
            unit="optimizer steps",
            low=1,
            high=100,
            source="one can be the seam of an accumulation; three are a habit",
        )
        share: float = threshold(
            0.3,
            unit="share of the checked steps",
            low=0.0,
            high=1.0,
            source="ours: one of three optimizers may be the faulty one",
        )
        closures: int = threshold(
            10, unit="backwards in closures", low=2, high=1000, source="exact: one of them has to find nothing"
        )
        ramp_samples: int = threshold(
            50, unit="samples", low=20, high=500, source="ours: long enough to tell a line from noise"
        )
        ramp_correlation: float = threshold(
            0.95, unit="correlation", low=0.5, high=1.0, source="ours: random walks stay below"
        )
        ramp_growth: float = threshold(
            10.0, unit="times", low=2.0, high=1000.0, source="ours: piling up gives about 50 in 50 steps"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the counters of the `loop` fact, and the norm's ramp where nothing was counted."""
        inside = window.fact("loop").get("in_closures") or (0, 0)
        if int(inside[0]) >= params.closures and not int(inside[1]):
            yield _in_closures(int(inside[0]))
            return
        if uses_closures(window):
            yield NotEvaluated("the optimizer calls a closure that clears and computes gradients inside step()")
            return
        loop, apart = window.fact("loop"), piecemeal(window)
        if apart is not None and (apart.sure or apart.checked < WINDOWS * apart.many):
            yield NotEvaluated("the loss is divided as in an accumulation, whose steps GW315 judges")
            return
        checked, missing = int(loop.get("zero_grad_checked") or 0), int(loop.get("zero_grad_missing") or 0)
        found = [item for item in offences(loop) if item.kind == "zero-grad-missing"]
        plain = Habit(missing, checked, 0)
        worst = max(found, key=lambda item: item.whole.times, default=Offence("", None, plain, plain, plain))
        if checked == 0 and not worst.whole.of:
            yield from self._ramp(window, params)
        elif (habit := worst.habit(params.steps, params.share)) is not None:
            yield _verdict(worst.optimizer, habit, late=habit is not worst.whole)
        elif checked < params.steps:
            yield NotEvaluated(f"{params.steps} checked optimizer steps are needed, {checked} are in")

    def _ramp(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        norms = window.series("grad_norm")
        if norms.count < params.ramp_samples:
            yield NotEvaluated(
                f"whether gradients are cleared was not seen, and {params.ramp_samples} gradient norms are needed for "
                f"a second look, {norms.count} are in",
                "monitor = watch(model, optimizer)  # before the first backward",
            )
            return
        memo = norms.track.memo
        if memo.get("no ramp") == params:
            return  # the first samples do not change
        memo["no ramp"] = params
        steps, values = norms.steps[: params.ramp_samples], norms.values[: params.ramp_samples]
        if not np.isfinite(values).all() or not values.std() > 0 or not values[0] > 0:
            return
        correlation = float(np.corrcoef(steps, values)[0, 1])
        growth = float(values[-1] / values[0])
        if correlation > params.ramp_correlation and growth >= params.ramp_growth:
            del memo["no ramp"]
            yield Verdict(
                severity=Severity.WARNING,
                first_step=int(steps[0]),
                message=(
                    f"The gradient norm grew in a straight line from {values[0]:.3g} to {values[-1]:.3g} over the "
                    f"first {len(values)} samples "
                    f"(correlation with the step {correlation:.3f}): gradients seem to pile up"
                ),
                advice=_ADVICE,
                evidence=Evidence(
                    numbers={"correlation": correlation, "growth": growth},
                    series=("grad_norm",),
                    limit=params.ramp_correlation,
                ),
            )


_ADVICE = (
    "Call `optimizer.zero_grad(set_to_none=True)` once per step, right before `loss.backward()`. If you accumulate "
    "over micro-batches on "
    "purpose, call `optimizer.step()` only after the last of them."
)


def _in_closures(backwards: int) -> Verdict:
    return Verdict(
        severity=Severity.ERROR,
        first_step=0,
        message=(
            f"None of {backwards} backwards inside the closure found the gradients cleared: those of all evaluations "
            "add up, and the optimizer takes the sum for the slope"
        ),
        advice="Call `optimizer.zero_grad()` as the first line of the closure that `optimizer.step` evaluates.",
        evidence=Evidence(numbers={"backwards_in_closures": backwards}, series=("grad_norm",), limit=0.0),
        at_once=True,
    )


def _verdict(optimizer: str | None, habit: Habit, *, late: bool) -> Verdict:
    whose = f" of optimizer `{optimizer}`" if optimizer else ""
    since = f" since step {habit.first}" if late else ""
    return Verdict(
        severity=Severity.ERROR,
        first_step=habit.first,
        message=(
            f"In {habit.times} of {habit.of} checked steps{whose}{since} no backward found the gradients cleared: they "
            "add up from step to step"
        ),
        advice=_ADVICE,
        evidence=Evidence(
            numbers={"steps_without_clearing": habit.times, "steps_checked": habit.of},
            series=("grad_norm",),
            limit=0.0,
        ),
        at_once=True,
    )
