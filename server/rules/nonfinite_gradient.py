"""GW603: a gradient is NaN or infinite."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Series
from server.rules._flight import BACKWARD, UPDATE, from_the_start, origin_of_loss
from server.rules._layers import listed, parameters
from server.rules._nonfinite import LAST, kind_of, last_finite, recent_bad, scaler_active, value_at
from server.rules._spikes import norms
from server.rules.base import Rule, Stage, threshold


class NonfiniteGradient(Rule):
    """The run has gradients that are NaN or infinite

    ## What it does
    Fires at once when the global gradient norm of one of the newest 100 samples is not finite, and names the parameters
    whose own norm was not, the one nearest to the loss first: the backward pass meets it first. Under a GradScaler such
    steps are skipped and routine; there it is an info from 3 of the last 10 samples on, after the first 100 steps.

    ## Why it matters
    Without a scaler the optimizer puts the NaN into the weights, and with Adam into its moments too: the run cannot
    recover.

    ## What you see in the chart
    A gap and a mark in the gradient norm; the loss follows one step later.

    ## What to try
    - A finite loss with a NaN gradient: `sqrt` or `norm` at exactly 0, `torch.where` with a bad value in the branch not
      taken, `0 * inf`.
    - Both not finite: the forward is at fault; look at the first layer with a non-finite output.
    - `clip_grad_norm_(…, error_if_nonfinite=True)` stops at the step; `set_detect_anomaly(True)` names the operation.

    ## Example
    ```python
    distance = (a - b).pow(2).sum().sqrt()               # gradient of sqrt at 0 is inf
    distance = ((a - b).pow(2).sum() + 1e-12).sqrt()     # right
    ```

    ## References
    - PyTorch, *Automatic Mixed Precision*: the scaler's skipped steps.
    - Exact test.
    """

    code = "GW603"
    name = "nonfinite-gradient"
    severity = Severity.ERROR
    since = "0.1.0"
    version = 2
    chart = "gradients"
    tier = "layers"
    clears_after = 10
    stage = Stage.NONFINITE_GRADIENT
    levels = {"last_finite_norm": "last finite norm"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How far back it looks, and what a loss scaler may skip."""

        recent: int = threshold(
            100, unit="samples", low=1, high=10_000, source="ours: older ones that the run survived are history"
        )
        scaler_samples: int = threshold(
            10, unit="samples", low=1, high=1000, source="ours: a scaler skips one step in 2,000"
        )
        scaler_bad: int = threshold(
            3, unit="samples", low=1, high=1000, source="ours: a scale that is found is not lost so often"
        )
        scaler_settled: int = threshold(
            100, unit="steps", low=0, high=10_000, source="the first scale of 65,536 may be halved ten times"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Looks at the newest norms."""
        name, series = norms(window)
        guarded = scaler_active(window)
        told = None if guarded else _told(window, series, params.recent)
        if told is not None:
            yield told
            return
        if not series:
            yield NotEvaluated(
                "no gradient norm was measured yet",
                "monitor = watch(model, optimizer)  # with the optimizer that steps",
            )
            return
        bad = recent_bad(series, params.recent)
        if bad is None:
            return
        if guarded:
            recent = series.tail(params.scaler_samples)
            if window.step < params.scaler_settled or np.count_nonzero(~np.isfinite(recent)) < params.scaler_bad:
                return
        step, what = int(series.steps[bad]), kind_of(float(series.values[bad]))
        yield _verdict(window, name, step, what, guarded)


def _told(window: Window, series: Series, recent: int) -> Verdict | None:
    """Judges what the flight recorder saw of a gradient that was not measured; nothing where it was."""
    origin = origin_of_loss(window, recent)
    if origin is None or origin.where not in (BACKWARD, UPDATE) or from_the_start(window, origin):
        return None
    step = origin.update_step
    bad = recent_bad(series, recent) if series else None
    if (bad is not None and int(series.steps[bad]) <= step) or value_at(series, step) is not None:
        return None  # measured: seen better, or the gradient was finite and the update alone broke the weights
    before = last_finite(series, step)
    was = f", after a norm of {before:.3g}," if before is not None else ""
    where = f", nearest to the loss in `{origin.tensor}`" if origin.tensor else ""
    return Verdict(
        severity=Severity.ERROR,
        first_step=step,
        message=f"The gradient or the update of step {step}{was} was not finite{where}: weights were NaN or "
        f"infinite when step {origin.step} began",
        advice=_BACKWARD_ALONE,
        layers=(origin.module,) if origin.module else (),
        evidence=Evidence(
            numbers={"parameters": float(origin.tensors)}, strings={}, series=("grad_norm", "loss"), limit=0.0
        ),
        at_once=True,
    )


_BACKWARD_ALONE = (
    "The loss was finite, so the backward itself made it: look near the named layer for sqrt or norm at 0 (add 1e-12 "
    "inside), torch.where with a bad value in the branch not taken, or a division whose zero is masked afterwards."
)
_BOTH = (
    "Loss and gradient are both broken: start at the first layer with a non-finite output. To stop at the step itself: "
    "clip_grad_norm_(model.parameters(), max_norm, error_if_nonfinite=True)."
)


def _verdict(window: Window, name: str, step: int, what: str, guarded: bool) -> Verdict:
    culprits = _bad_parameters(window, step)
    loss = value_at(window.loss, step)
    finite_loss = loss is not None and math.isfinite(loss)
    before = last_finite(window.series(name), step)
    was = f", after {before:.3g}" if before is not None else " from the start"
    where = f", nearest to the loss in {listed(culprits)}" if culprits else ""
    also = " while the loss was still finite" if finite_loss else ""
    numbers = {"parameters": float(len(culprits))}
    if before is not None:
        numbers["last_finite_norm"] = before
    return Verdict(
        severity=Severity.INFO if guarded else Severity.ERROR,
        first_step=step,
        message=f"The gradient norm became {what} at step {step}{was}{also}{where}"
        + (" (the GradScaler skips such steps)" if guarded else ""),
        advice=_BACKWARD_ALONE if finite_loss else _BOTH,
        layers=tuple(dict.fromkeys(culprit.rpartition(".")[0] or culprit for culprit in culprits)),
        evidence=Evidence(numbers=numbers, strings={"value": what}, series=(name, "loss"), limit=0.0),
        at_once=True,
    )


def _bad_parameters(window: Window, step: int) -> list[str]:
    """Lists parameters whose gradient was not finite at this step, in the order in which the backward meets them."""
    order = {item.name: LAST if item.order is None else item.order for item in parameters(window)}
    found = {
        name
        for name, series in window.by_layer(Kind.PARAM_GRAD_NORM).items()
        if (value := value_at(series, step)) is not None and not math.isfinite(value)
    }
    found |= {
        name
        for name, series in window.by_layer(Kind.PARAM_GRAD_NONFINITE).items()
        if value_at(series, step) not in (None, 0.0)
    }
    return sorted(found, key=lambda name: (-order.get(name, -1), name))
