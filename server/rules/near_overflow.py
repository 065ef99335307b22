"""GW607: half-precision numbers come close to the largest, or fall below the smallest, that the format has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med, start_of
from server.rules._layers import Parameter, listed, parameters
from server.rules._nonfinite import scaler_active
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold

SMALLEST = 2.0**-24  # of float16, above 0
BEGAN = 5  # first samples
ADVICE = (
    "Keep the weights in float32, compute under torch.autocast and scale the loss (torch.amp.GradScaler); or use "
    "bfloat16, which has the range of float32."
)


class NearOverflow(Rule):
    """The run has half-precision numbers at an end of their range

    ## What it does
    Where float16 is in use (a GradScaler, or float16 weights): layers whose largest activation was above 32,752, half
    of float16's largest number, in 3 of the last 50 samples. And matrices in float16 most of whose gradient is exactly
    0: what is not 0 is 2⁻²⁴ or more there, so a root mean square below that bounds the share of zeros. That is an info
    where less than half of the first loss is left; else gradients that were there and are exactly 0 in all float16
    parameters count as well. Under autocast the gradients of float32 weights arrive in float32, and how many were
    rounded to 0 before cannot be seen; nor are the zeros of a scaled gradient counted.

    ## Why it matters
    The next larger batch gives infinity, and the step is lost, or the run. What is rounded to 0 learns nothing.

    ## What you see in the chart
    The absolute maximum of a layer near 6.5e4; a gradient norm that falls to next to nothing.

    ## What to try
    - bfloat16 has the range of float32.
    - Weights in float32, `torch.autocast` and a `GradScaler`, which lifts the gradients into the range.
    - Normalise before the layer, or compute it in float32: `with torch.autocast("cuda", enabled=False)`.

    ## Example
    ```python
    torch.autocast("cuda", dtype=torch.float16)      # up to 65,504
    torch.autocast("cuda", dtype=torch.bfloat16)     # up to 3e38
    ```

    ## References
    - IEEE 754 binary16: the largest number is 65,504, the smallest 2⁻²⁴.
    - Half of it, 3 of 50, and half of a gradient are ours.
    """

    code = "GW607"
    name = "near-overflow"
    severity = Severity.WARNING
    since = "0.2.0"
    needs = (Kind.ACT_ABSMAX,)
    chart = "activations"
    tier = "layers"
    clock = "sample"
    clears_after = 50
    stage = Stage.GRADIENT
    levels = {"the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How close is close."""

        limit: float = threshold(32_752.0, unit="absolute value", low=1e3, high=65_504.0, source="half of 65,504")
        times: int = threshold(3, unit="of the last 50 samples", low=1, high=50, source="ours: not one outlier")
        zeros: float = threshold(
            0.5,
            unit="of a gradient",
            low=0.1,
            high=1.0,
            source="ours: more is lost than left, and was not at the start",
        )
        samples: int = threshold(20, unit="samples", low=5, high=1000, source="ours: not a few quiet batches")
        open_loss: float = threshold(
            0.5, unit="of the first loss", low=0.0, high=1.0, source="ours: a good fit has small gradients by right"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Looks at the newest samples of every layer."""
        half = any(item.dtype == "float16" for item in parameters(window))
        if not half and not scaler_active(window):
            yield NotEvaluated("float16 is not in use here")
            return
        close = {}
        for name, series in window.by_layer(Kind.ACT_ABSMAX).items():
            tail = series.tail(50)
            over = np.isfinite(tail) & (tail > params.limit)
            if int(over.sum()) >= params.times:
                close[name] = float(np.max(tail[over]))
        if close:
            worst = max(close, key=lambda name: close[name])
            yield say(
                Severity.WARNING,
                f"Activations of {len(close)} layers come close to the end of float16 (65,504): `{worst}` reached "
                f"{close[worst]:.4g}"
                + (f"; also {listed([n for n in close if n != worst])}" if len(close) > 1 else ""),
                f"Use bfloat16, or compute `{worst}` in float32; a normalisation before it keeps the values small.",
                layers=[worst, *close],
                numbers={"largest": close[worst], "layers": len(close)},
                series=[f"act/absmax/{name}" for name in list(close)[:8]],
                limit=params.limit,
            )
            return
        if not scaler_active(window):
            yield from _nothing_left(window, params) or _rounded_to_zero(window, params)


def _still_open(window: Window, params: NearOverflow.Params) -> bool:
    losses = window.loss
    return bool(med(losses.tail(params.samples)) > params.open_loss * abs(start_of(losses.values)))


def _nothing_left(window: Window, params: NearOverflow.Params) -> list[Verdict]:
    """Tells of gradients that are all exactly 0, those of the last bias too, which no dead layer explains."""
    norms = window.by_layer(Kind.PARAM_GRAD_NORM)
    half = [item for item in parameters(window) if item.dtype == "float16" and item.name in norms]
    known = [norms[item.name] for item in half]
    ready = len(half) > 1 and all(series.count >= params.samples + BEGAN for series in known)
    if not ready or not _still_open(window, params) or any(series.tail(params.samples).any() for series in known):
        return []
    began = [np.flatnonzero(series.values) for series in known]
    if not all(len(places) for places in began):
        return []  # some never had any: another rule's
    step = max(int(series.steps[places[-1] + 1]) for series, places in zip(known, began, strict=True))
    first, now = start_of(window.loss.values), med(window.loss.tail(params.samples))
    return [
        say(
            Severity.WARNING,
            f"The gradients of all {len(half)} float16 parameters are exactly 0 since step {step}, and the loss is "
            f"{now:.3g} of {first:.3g} at the start: float16 knows no number between 0 and {SMALLEST:.1g}",
            ADVICE,
            step=step,
            layers=[item.layer for item in half],
            numbers={"parameters": len(half), "loss": now, "first_loss": first},
            series=[f"grad_norm/{item.name}" for item in half[:8]],
            limit=params.zeros,
            at_once=False,
        )
    ]


def _rounded_to_zero(window: Window, params: NearOverflow.Params) -> Iterator[Verdict]:
    """Tells of gradients of which float16 keeps less than half, and kept more at the start."""
    norms = window.by_layer(Kind.PARAM_GRAD_NORM)
    lost: dict[str, tuple[float, float]] = {}
    for item in parameters(window):
        series = norms.get(item.name)
        if item.dtype != "float16" or not item.is_matrix or series is None or series.count < params.samples + BEGAN:
            continue
        share, size = _zeros(item, med(series.tail(params.samples)))
        if share > max(params.zeros, 2 * _zeros(item, med(series.values[:BEGAN]))[0]):
            lost[item.name] = share, size
    if not lost:
        return
    worst = max(lost, key=lambda name: lost[name])
    share, size = lost[worst]
    yield say(
        Severity.WARNING if _still_open(window, params) else Severity.INFO,
        f"At least {percent(share)} of the gradient of `{worst}` is exactly 0: what is left of it has a root mean "
        f"square of {size:.2g}, and float16 knows no number between 0 and {SMALLEST:.1g}"
        + (f"; also {listed([name for name in lost if name != worst])}" if len(lost) > 1 else ""),
        ADVICE,
        layers=[name.rpartition(".")[0] for name in (worst, *lost)],
        numbers={"share": share, "root_mean_square": size, "matrices": len(lost)},
        series=[f"grad_norm/{name}" for name in list(lost)[:8]],
        limit=params.zeros,
        at_once=False,
    )


def _zeros(item: Parameter, norm: float) -> tuple[float, float]:
    """Gives the least share of zeros that a norm leaves room for, and the root mean square; no zeros are sure where
    nothing is left, which is no rounding alone, or where the norm is not finite."""
    size = norm / math.sqrt(max(item.numel, 1))
    return (max(0.0, 1 - (size / SMALLEST) ** 2) if size > 0 else 0.0), size
