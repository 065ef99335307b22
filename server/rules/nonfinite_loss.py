"""GW601: the loss is NaN or infinite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Series
from server.rules._flight import BACKWARD, FORWARD, INPUT, LOSS, Origin, from_the_start, origin_at
from server.rules._nonfinite import bad_layers, kind_of, last_finite, recent_bad, scaler_active
from server.rules.base import Rule, Stage, threshold


class NonfiniteLoss(Rule):
    """The run has a loss that is NaN or infinite

    ## What it does
    Fires at once when a loss of the newest 100 samples is not finite. Under a GradScaler a single one is an info,
    because the scaler skips such steps; two in a row are an error. The message names the first step, and the evidence
    what came before: the last finite loss, the gradient norm, and what was no number first: as the flight recorder saw
    it, else the first layer whose output was not finite. Two or more that a run survived are a warning at its end.

    ## Why it matters
    One optimizer step with a NaN gradient makes every weight NaN; all that follows is lost.

    ## What you see in the chart
    The loss line ends; a red mark on the axis shows where.

    ## What to try
    - Look at the first bad layer and at the batch of that step: zero-length targets, empty masks, inf in the inputs.
    - Divisions and logarithms: `torch.log(p)` → `torch.log(p.clamp_min(1e-8))`, or a loss that takes logits.
    - Learning rate too high: the norm before the crash tells. Clip, lower the rate.
    - `torch.autograd.set_detect_anomaly(True)` for one run names the operation.

    ## Example
    ```python
    loss = -(y * torch.log(torch.softmax(z, 1))).mean()    # wrong: log(0) = -inf, 0 * -inf = nan
    loss = F.cross_entropy(z, y)                           # right
    ```

    ## References
    - PyTorch, *Automatic Mixed Precision*: a GradScaler skips steps with non-finite gradients.
    - Exact test.
    """

    code = "GW601"
    name = "nonfinite-loss"
    severity = Severity.ERROR
    since = "0.1.0"
    version = 3
    needs = (Kind.LOSS,)
    chart = "loss"
    clears_after = 10
    stage = Stage.NONFINITE_LOSS
    levels = {"last_finite_loss": "last finite loss"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How far back it looks, and what a loss scaler may forgive."""

        recent: int = threshold(
            100, unit="samples", low=1, high=10_000, source="ours: older ones that the run survived are history"
        )
        in_a_row: int = threshold(
            2,
            unit="samples under a GradScaler",
            low=1,
            high=100,
            source="one is a skipped step, two are a loss that stays broken",
        )
        survived: int = threshold(
            2, unit="losses of a run", low=1, high=1_000, source="ours: one may be a single bad sample"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Looks at the newest losses."""
        loss = window.loss
        if not loss:
            yield NotEvaluated("no loss was sent yet", "monitor.step(loss)  # as the last line of each iteration")
            return
        bad = recent_bad(loss, params.recent)
        if bad is None:
            if window.final and not scaler_active(window) and int((~np.isfinite(loss.values)).sum()) >= params.survived:
                yield _survived(loss)
            return
        forgiven = scaler_active(window) and _longest_run(loss.tail(params.recent)) < params.in_a_row
        yield _verdict(window, loss, bad, forgiven)


def _longest_run(values: np.ndarray) -> int:
    longest = current = 0
    for good in np.isfinite(values):
        current = 0 if good else current + 1
        longest = max(longest, current)
    return longest


def _survived(loss: Series) -> Verdict:
    bad = np.flatnonzero(~np.isfinite(loss.values))
    step, last = int(loss.steps[bad[0]]), int(loss.steps[bad[-1]])
    what = kind_of(float(loss.values[bad[0]]))
    return Verdict(
        severity=Severity.WARNING,
        first_step=step,
        message=f"{len(bad)} of {loss.count} losses were no numbers, {what} at step {step} first and the last at step "
        f"{last}: the run went on, and some batch will break it",
        advice=(
            "Look in the loss for log, sqrt or a division whose argument can reach 0 or fall below (clamp_min(1e-8), "
            "softplus), and at these batches for NaN; torch.autograd.set_detect_anomaly(True) names the operation."
        ),
        evidence=Evidence(
            numbers={"nonfinite_losses": float(len(bad))}, strings={"value": what}, series=("loss",), limit=0.0
        ),
    )


def _verdict(window: Window, loss: Series, bad: int, forgiven: bool) -> Verdict:
    step, what = int(loss.steps[bad]), kind_of(float(loss.values[bad]))
    before = last_finite(loss, step)
    count = int(np.count_nonzero(~np.isfinite(loss.values[bad:])))
    norm = last_finite(window.series("grad_norm"), step)
    origin = origin_at(window, step)
    layers = bad_layers(window, step) if origin is None else [origin.module] if origin.module else []
    numbers = {"nonfinite_losses": float(count)}
    if before is not None:
        numbers["last_finite_loss"] = before
    if norm is not None:
        numbers["last_finite_gradient_norm"] = norm
    was = f"after {before:.4g}" if before is not None else "from the start"
    blame = f"; the first layer with a non-finite output is `{layers[0]}`" if layers else ""
    return Verdict(
        severity=Severity.INFO if forgiven else Severity.ERROR,
        first_step=step,
        message=f"The loss became {what} at step {step}, {was}{blame if origin is None else _blame(window, origin)}"
        + (" (a single step, which the GradScaler skips)" if forgiven else ""),
        advice=_advice(step, norm, layers) if origin is None else _remedy(window, origin, norm),
        layers=tuple(layers[:1]),
        evidence=Evidence(numbers=numbers, strings={"value": what}, series=("loss", "grad_norm"), limit=0.0),
        at_once=True,
    )


def _advice(step: int, norm: float | None, layers: Sequence[str]) -> str:
    return (
        (f"Print min and max of what goes into `{layers[0]}` at step {step}. " if layers else "")
        + _of_the_norm(norm)
        + "Look in the loss for log, sqrt, a division or an empty mask (clamp_min(1e-8)), and at this batch for "
        "NaN; torch.autograd.set_detect_anomaly(True) names the operation."
    )


def _of_the_norm(norm: float | None) -> str:
    return (
        f"The gradient norm was {norm:.3g} just before: if that is far above its usual size, clip gradients "
        "and divide the learning rate by 10. "
        if norm is not None
        else ""
    )


def _blame(window: Window, origin: Origin) -> str:
    where = f"`{origin.module}`" if origin.module else "the model"
    if origin.where == INPUT:
        return f"; the inputs held NaN or infinity already, where they go into {where}"
    if origin.where in (FORWARD, LOSS):
        return f"; the first non-finite value came from {origin.made}"
    if from_the_start(window, origin):
        return f"; the weights of {where} were not finite before the first step"
    if origin.where == BACKWARD:
        return f"; the gradient of step {origin.update_step} was not finite before it"
    return f"; the update of step {origin.update_step} had put NaN or infinity into the weights of {where}"


def _remedy(window: Window, origin: Origin, norm: float | None) -> str:
    if origin.where == INPUT:
        return f"Look at the inputs and targets of step {origin.step}: torch.isfinite(x).all()."
    if origin.where in (FORWARD, LOSS):
        return f"{origin.remedy}. {_of_the_norm(norm)}".rstrip()
    if from_the_start(window, origin):
        return "Look where those weights come from: a checkpoint, or how they are initialised."
    return f"Begin with {origin.begin}. {_of_the_norm(norm)}".rstrip()
