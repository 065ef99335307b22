"""GW602: a layer's output is NaN or infinite."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Series
from server.rules._flight import FORWARD, Origin, origin_of_loss
from server.rules._layers import listed
from server.rules._nonfinite import LAST, bad_layers, broken_since, call_order, scaler_active, value_at
from server.rules.base import Rule, Stage, threshold


class NonfiniteActivation(Rule):
    """The run has a layer that puts out NaN or infinite values

    ## What it does
    Looks at the count of non-finite outputs of every layer in the newest 100 samples, and names the first layer, in the
    order of the forward, of the first step that had any. Infinities that go no further are left alone: where no later
    layer, not the loss and not the gradient of that step is affected, they are a mask or a log-probability of 0.
    Where the loss broke in a step whose layers were not measured, the flight recorder tells which operation of the
    forward pass made the first such value, and behind the weights of which module.

    ## Why it matters
    This is the place where a NaN is born. Everything after it, loss and gradients too, only passes it on.

    ## What you see in the chart
    Marks in the row of the layer in the heatmap; the rows below it follow in the same step.

    ## What to try
    - Print min and max of the layer's input at that step, and of its weights.
    - Weights not finite: the step before destroyed them. Input not finite: the data. Neither: the operation itself
      (exp, division, log, a normalisation over one constant value).
    - fp16: values above 65,504 become Inf: use bf16, or keep this layer in fp32.

    ## Example
    ```python
    x / x.std(dim=1, keepdim=True)              # wrong for a constant row: 0 / 0
    x / (x.std(dim=1, keepdim=True) + 1e-5)     # right
    ```

    ## References
    - IEEE 754; fp16 ends at 65,504, bf16 at 3.4e38.
    - Exact test.
    """

    code = "GW602"
    name = "nonfinite-activation"
    severity = Severity.ERROR
    since = "0.1.0"
    version = 3
    needs = (Kind.ACT_NONFINITE,)
    chart = "activations"
    tier = "layers"
    clock = "sample"
    clears_after = 10
    stage = Stage.NONFINITE_ACTIVATION
    levels = {"the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How far back it looks."""

        recent: int = threshold(
            100, unit="samples", low=1, high=10_000, source="ours: older ones that the run survived are history"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Finds the first layer of the first bad step."""
        counts = window.by_layer(Kind.ACT_NONFINITE)
        if not counts:
            yield NotEvaluated("no activation was measured yet")
            return
        found = _first_layer(window, counts, params.recent)
        origin = origin_of_loss(window, params.recent)
        if origin is not None and found is not None and found[1] < origin.step:
            origin = None  # of another incident
        if origin is not None and origin.where == FORWARD and not (found is None and scaler_active(window)):
            yield _told(window, counts, origin, found)
        elif found is not None:
            yield _verdict(window, counts, *found, origin)


def _first_layer(window: Window, counts: dict[str, Series], recent: int) -> tuple[str, int] | None:
    """Finds the first layer of the first bad step."""
    if any(_is_bad(series.tail(recent)) for series in counts.values()):
        for layer in bad_layers(window, window.step):
            step = _first_bad(counts[layer])
            if step is not None and not _harmless(window, counts, layer, step):
                return layer, step
    return None


def _is_bad(values: np.ndarray) -> bool:
    return bool(np.any((values > 0) | ~np.isfinite(values)))


def _first_bad(series: Series) -> int | None:
    bad = np.flatnonzero((series.values > 0) | ~np.isfinite(series.values))
    return int(series.steps[bad[0]]) if len(bad) else None


def _harmless(window: Window, counts: dict[str, Series], layer: str, step: int) -> bool:
    """Says whether nothing behind the layer noticed: no later layer, not the loss, not the gradient of that step."""
    loss = value_at(window.loss, step)
    norm = value_at(window.series("grad_norm"), step)
    if loss is None or not math.isfinite(loss) or (norm is not None and not math.isfinite(norm)):
        return False
    order = call_order(window)
    own = order.get(layer, LAST)
    later = [name for name in counts if order.get(name, LAST) > own]
    return not any((value_at(counts[name], step) or 0.0) != 0.0 for name in later)


def _bad_at(window: Window, counts: dict[str, Series], step: int) -> list[str]:
    """Lists the layers with bad outputs at a step, in the order of the forward."""
    order = call_order(window)
    bad = (name for name, series in counts.items() if (value_at(series, step) or 0.0) != 0.0)
    return sorted(bad, key=lambda name: order.get(name, LAST))


def _told(window: Window, counts: dict[str, Series], origin: Origin, found: tuple[str, int] | None) -> Verdict:
    """Says what the flight recorder saw, and which layers were measured then or next."""
    later = _bad_at(window, counts, found[1]) if found is not None else []
    passed = f", passed on by {listed(later)}" if later else ""
    if found is not None and found[1] != origin.step:
        passed = f"; when layers were measured next, at step {found[1]}, {listed(later)} put out such values too"
    return Verdict(
        severity=Severity.ERROR,
        first_step=origin.step,
        message=f"The forward pass made the first non-finite value at step {origin.step}: {origin.made}{passed}",
        advice=f"{origin.remedy}. The run page has the batch and the random state of step {origin.step}.",
        layers=tuple(dict.fromkeys(name for name in (origin.module, *later) if name)),
        evidence=Evidence(
            numbers={"layers_affected": float(len(later))},
            strings={"operation": origin.operation},
            series=(f"act/nonfinite/{later[0]}" if later else "loss", "loss")[-2 if later else -1 :],
            limit=0.0,
        ),
        at_once=True,
    )


_NOT_HERE = (
    "The weights carry what an earlier step left, so this layer need not be the origin: at the step {lost} print min "
    "and max of every layer's output, or use torch.autograd.set_detect_anomaly(True). "
)
_ADVICE = (
    "At step {step} print min and max of the input and of the weights of `{layer}`: weights not finite = the step "
    "before destroyed them (clip, divide the learning rate by 10); input not finite = clean the data; neither = the "
    "operation itself (add an epsilon to a division, clamp before log and exp, use bf16 or fp32 for it)."
)


def _verdict(window: Window, counts: dict[str, Series], layer: str, step: int, origin: Origin | None = None) -> Verdict:
    order = call_order(window)
    also = [name for name in _bad_at(window, counts, step) if name != layer]
    before = [name for name in counts if order.get(name, LAST) < order.get(layer, LAST) and name not in also]
    sizes = {name: value_at(window.series(f"act/absmax/{name}"), step) for name in before}
    finite = {name: size for name, size in sizes.items() if size is not None and math.isfinite(size)}
    largest = max(finite, key=lambda name: finite[name], default=None)
    numbers = {"layers_affected": float(len(also) + 1)}
    if largest is not None:
        numbers["largest_finite_before"] = finite[largest]
    size = (
        f"; the largest finite output before it is {finite[largest]:.3g} in `{largest}`" if largest is not None else ""
    )
    passed = f", passed on by {listed(also)}" if also else ""
    lost = broken_since(window.loss, step)
    late = lost is not None and lost != step
    if origin is not None:
        since = f"; it began with {origin.begin}"
        advice = f"Nothing says that `{layer}` is at fault: it passes on what began with {origin.begin}. Look there."
    else:
        since = f"; the loss was not finite from step {lost} on, when no layer was measured" if late else ""
        advice = (_NOT_HERE.format(lost=lost) if late else "") + _ADVICE.format(step=step, layer=layer)
    return Verdict(
        severity=Severity.ERROR,
        first_step=step,
        message=f"Layer `{layer}` is the first with a non-finite output, at step {step}{passed}{size}{since}",
        advice=advice,
        layers=(layer, *also),
        evidence=Evidence(
            numbers=numbers,
            strings={"first_layer": layer},
            series=(f"act/nonfinite/{layer}", f"act/absmax/{layer}", "loss"),
            limit=0.0,
        ),
        at_once=True,
    )
