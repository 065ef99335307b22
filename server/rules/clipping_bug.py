"""GW422: clipping has no effect, or acts on the wrong numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._layers import optimizers
from server.rules._nonfinite import scaler_active
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold


class ClippingBug(Rule):
    """The run has a gradient clipping that does nothing or the wrong thing

    ## What it does
    Clipping on scaled gradients (a GradScaler without `unscale_`), clipping of no parameter at all (a generator that
    was used up, or a call before backward()), a norm that is not finite while training goes on, and gradients that are
    above the limit when the optimizer uses them although all of them were clipped.

    ## Why it matters
    You believe that the step is bounded, and it is not; or the limit acts on numbers that are 65,536 times too large
    and shrinks every step to nothing.

    ## What you see in the chart
    The gradient norm at the step is above the limit; or the norm before clipping is in the ten thousands.

    ## What to try
    The order: `backward`, `scaler.unscale_(optimizer)`, `clip_grad_norm_`, `scaler.step`. Make a list of parameters
    once instead of a generator. `error_if_nonfinite=True` while you look for the cause.

    ## Example
    ```python
    parameters = model.parameters()                        # wrong: a generator is empty after its first use
    parameters = list(model.parameters())                  # right
    clip_grad_norm_(parameters, 1.0)
    ```

    ## References
    - PyTorch, *Automatic Mixed Precision examples*, gradient clipping.
    - Exact test. `clip_grad_norm` without underscore is the deprecated name of the same function.
    """

    code = "GW422"
    name = "clipping-bug"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 2
    chart = "grad-norm"
    tier = "facts"
    clears_after = 1
    stage = Stage.OPTIMISER
    exact = True
    levels = {"max_norm": "clipping limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How often it must be seen."""

        times: int = threshold(3, unit="calls", low=1, high=100, source="ours: a habit, not a seam")
        share: float = threshold(0.5, unit="of the calls", low=0.01, high=1.0, source="ours: a habit, not a seam")
        above: float = threshold(1.01, unit="times the limit", low=1.0, high=10.0, source="rounding of the norm")
        samples: int = threshold(5, unit="samples", low=1, high=100, source="ours: not the seam of an accumulation")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `clipping` and the norms at the step."""
        fact = window.fact("clipping")
        calls = int(fact.get("calls") or 0)
        if calls < params.times:
            yield NotEvaluated(f"{params.times} calls of a clipping function are needed, {calls} are in")
            return
        scaled, empty, bad = (int(fact.get(key) or 0) for key in ("scaled", "empty", "nonfinite"))
        if scaled >= params.times and scaled >= params.share * calls:
            yield _say(
                f"{scaled} of {calls} calls clipped gradients that still carried the loss scale",
                "Call scaler.unscale_(optimizer) between backward() and clip_grad_norm_().",
                {"calls": calls, "scaled": scaled},
            )
        elif empty >= params.times and (empty >= params.share * calls or fact.get("parameters") == 0):
            often = f"{empty} of {calls} calls"
            if empty < params.share * calls:
                often = f"{empty} calls, the last among them,"
            yield _say(
                f"{often} clipped no gradient at all: they were given no parameters that have one",
                "model.parameters() is a generator: hand a fresh one to each call, or keep "
                "list(model.parameters()); and "
                "clip after backward().",
                {"calls": calls, "empty": empty},
            )
        elif bad >= params.times and not scaler_active(window):
            yield _say(
                f"{bad} of {calls} calls met a gradient norm that is not finite, and training went on: clipping turns "
                "every gradient into NaN",
                "Find the first bad layer (GW602, GW603); error_if_nonfinite=True stops at the first such step.",
                {"calls": calls, "nonfinite": bad},
                symptom=True,
            )
        else:
            verdict = _without_effect(window, params)
            if verdict is not None:
                yield verdict


def _without_effect(window: Window, params: ClippingBug.Params) -> Verdict | None:
    fact = window.fact("clipping")
    limit = fact.get("limit")
    usual = fact.get("kind") == "norm" and fact.get("norm_type") in (2, 2.0)
    if not usual or (fact.get("covers") or 0) < 0.999 or not isinstance(limit, (int, float)) or not limit > 0:
        return None
    late = [item for item in window.fact("loop").get("offences") or () if str(item.get("kind", "")).startswith("clip-")]
    norms = window.series("grad_norm").tail(params.samples)
    if late or len(optimizers(window)) > 1 or scaler_active(window) or len(norms) < params.samples:
        return None  # GW305 names the order
    least = float(min(norms))
    if not math.isfinite(least) or least <= params.above * limit:
        return None
    return _say(
        f"The optimizer used gradients of norm {least:.3g} or more in each of the last {len(norms)} samples, above the "
        f"clipping limit {limit:g}",
        "Clip after the last backward() of a step and right before optimizer.step(): what comes later adds to it.",
        {"norm": least, "max_norm": float(limit)},
        float(limit),
    )


def _say(message: str, advice: str, numbers: dict[str, float], limit: float = 0.0, *, symptom: bool = False) -> Verdict:
    """Words a verdict; a symptom is of what made the values non-finite, and says so only where that is not known."""
    return say(
        Severity.ERROR,
        message,
        advice,
        numbers=numbers,
        series=("grad_norm", "clip/before"),
        limit=limit,
        stage=Stage.SYMPTOM if symptom else None,
        exact=False if symptom else None,
    )
