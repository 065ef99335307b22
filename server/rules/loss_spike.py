"""GW205: the loss jumped far beyond its own noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Floats, Series
from server.domain.statistics import Baseline, baseline, med, short_factor, window_size
from server.rules._lessons import of_new_classes
from server.rules._main_part import main_part
from server.rules.base import Rule, Stage, threshold

SHORT, LONG = 3, 15
FEWEST_BEFORE = 20
RECENT = 60  # samples in which a spike counts as now
WARM_UP, WARM_UP_SHARE = 100, 0.1
FLOOR = 0.1  # of the first losses: near a loss of 0 a doubling is nothing
SHORT_FLOOR = 0.25  # where three losses decide: near zero a short step back is nothing
CALM = 1.1  # of what the main part of the loss was: it did not rise
BACK = 1.5  # scales from the old level: recovered


@dataclass(frozen=True)
class Spike:
    """One jump: the sample at which it was sure, the width of its median, and what it stands out from."""

    index: int
    width: int
    height: float
    before: Baseline


class LossSpike(Rule):
    """The run has a loss that jumped far beyond its noise and stayed up

    ## What it does
    Compares the median of the newest 3 losses, and of the newest 15, with the 200 before them. It fires where the
    first is 6 scales and 30 % above, or the second 2.5 scales and 50 %; the scale is the largest of the spread, the
    upper tail and the error of the median. Single outliers never count, nor does anything in the warm-up or after
    a jump of the learning rate, nor in the 15 steps after a batch that brought classes which the run had never seen.
    An info where you log the parts of the loss and the one that it was made of did not rise with it.
    While more than 5 % of the model's classes were never seen, it waits for a measured step behind the jump, 40 losses
    at most.

    ## Why it matters
    A spike costs the progress of hundreds of steps, and where it does not come back the run is lost.

    ## What you see in the chart
    A tower in the loss, and often one in the gradient norm a step or two before.

    ## What to try
    - Clip gradients: `torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)`.
    - Lower the peak learning rate, or lengthen the warm-up; with Adam try `betas=(0.9, 0.95)`.
    - Keep the batch's ids. Going back 100 steps and skipping the batches helps even where each is harmless alone.

    ## Example
    ```python
    loss.backward(); optimizer.step()                                             # spikes now and then
    loss.backward(); clip_grad_norm_(model.parameters(), 1.0); optimizer.step()   # does not
    ```

    ## References
    - A. Chowdhery et al., *PaLM* (2022), section 5.1: restart before the spike and skip 200 to 500 batches.
    - Limits are ours, set so that six kinds of simulated healthy noise raise none in 480,000 samples.
    """

    code = "GW205"
    name = "loss-spike"
    severity = Severity.WARNING
    since = "0.1.0"
    version = 4
    needs = (Kind.LOSS,)
    chart = "loss"
    gates = ("warm_up", "lr_changed", "resumed", "moving_target")
    stage = Stage.SWINGS
    levels = {"before": "baseline"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How far above its baseline a loss must be."""

        short_scales: float = threshold(
            6.0, unit="scales, median of 3", low=2.0, high=50.0, source="ours, by simulation"
        )
        short_ratio: float = threshold(0.3, unit="of the baseline, median of 3", low=0.0, high=10.0, source="ours")
        long_scales: float = threshold(
            2.5, unit="scales, median of 15", low=1.0, high=50.0, source="ours, by simulation"
        )
        long_ratio: float = threshold(0.5, unit="of the baseline, median of 15", low=0.0, high=10.0, source="ours")
        short_scales_signed: float = threshold(
            8.0, unit="scales, median of 3, for losses that can be negative", low=2.0, high=50.0, source="ours"
        )
        long_scales_signed: float = threshold(
            3.5, unit="scales, median of 15, for losses that can be negative", low=1.0, high=50.0, source="ours"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Looks for a spike among the newest losses."""
        loss = window.loss
        first = warm_up_end(window)
        if loss.count <= first:
            yield NotEvaluated(f"{first + 1} losses are needed for a baseline, {loss.count} are in")
            return
        recent = [spike for spike in spikes(loss, window.planned, params, first) if spike.index >= loss.count - RECENT]
        kept = [spike for spike in recent if not of_new_classes(window, _onset(loss, spike))]
        if kept:
            yield _verdict(window, kept)
        elif recent:
            yield NotEvaluated(
                "the loss jumped where batches brought classes that the run had never seen, or may have: the next "
                "measured step tells"
            )


def warm_up_end(window: Window) -> int:
    """Says how many samples at the beginning are no baseline."""
    planned = window.planned
    return max(int(min(WARM_UP, WARM_UP_SHARE * planned)) if planned else WARM_UP, FEWEST_BEFORE + LONG)


def spikes(loss: Series, planned: int | None, params: LossSpike.Params, first: int) -> list[Spike]:
    """Finds every spike so far. Each sample is judged once: what was found is kept beside the track."""
    memo: dict[str, Any] = loss.track.memo.setdefault(("loss-spike", planned, params), {"seen": first, "found": []})
    values = loss.values
    if memo["seen"] < loss.count:
        start = med(values[: max(3, len(values[:1000]) // 100)])
        memo["found"] += _new_spikes(values, memo["seen"], planned, params, abs(start))
        memo["seen"] = loss.count
    return [spike for spike in memo["found"] if spike.index < loss.count]


def _new_spikes(
    values: Floats, seen: int, planned: int | None, params: LossSpike.Params, start: float
) -> Iterator[Spike]:
    kinds = (
        (SHORT, (params.short_scales, params.short_scales_signed, params.short_ratio)),
        (LONG, (params.long_scales, params.long_scales_signed, params.long_ratio)),
    )
    floors = {SHORT: SHORT_FLOOR * start, LONG: FLOOR * start}
    high = {width: _high(values, seen, planned, width, limits[2], floors[width]) for width, limits in kinds}
    for index in sorted(set(high[SHORT]) | set(high[LONG])):
        for width, limits in kinds:
            height = high[width].get(index)
            if height is None:
                continue
            span = window_size(index + 1, planned)
            before = values[max(0, index + 1 - width - span) : index + 1 - width]
            base = baseline(before)
            if base.count >= FEWEST_BEFORE and _is_spike(
                height, base, before, limits, floors[width], short_factor(span)
            ):
                yield Spike(index, width, height, base)
                break


def _high(values: Floats, seen: int, planned: int | None, width: int, ratio: float, floor: float) -> dict[int, float]:
    """Gives the places from `seen` on where a median of `width` losses may be a spike, with that median.

    All are compared at once with the least that a spike needs: the share above the median of the baseline.
    """
    first_span, last_span = window_size(seen + 1, planned), window_size(len(values), planned)
    even = first_span == last_span and bool(np.isfinite(values[max(0, seen + 1 - width - last_span) :]).all())
    least = None
    if even:
        least = _lowest_median(values, seen + 1 - width, last_span, len(values) - seen)
        # no median is above the highest of its values
        if least is not None and not np.max(values[seen + 1 - width :]) - least > max(ratio * least, floor):
            return {}
    places = np.arange(seen, len(values))
    newest = values[(places + 1 - width)[:, None] + np.arange(width)]
    heights = np.partition(newest, width // 2, axis=1)[:, width // 2]
    ends = places + 1 - width
    # a median that is no higher than two values of its baseline needs no look at the baseline
    spans = np.array([window_size(int(place) + 1, planned) for place in places]) if first_span != last_span else None
    lengths = np.minimum(ends, last_span if spans is None else spans)
    middle_values = values[ends - lengths + lengths // 2]
    maybe = np.isfinite(heights) & ~((heights <= values[ends - 1]) & (heights <= middle_values))
    if even:
        if least is not None:
            maybe &= heights - least > max(ratio * least, floor)
        rows = np.flatnonzero(maybe & (ends >= last_span))
        if len(rows):
            table = values[(ends[rows] - last_span)[:, None] + np.arange(last_span)]
            half = last_span // 2
            middles = np.partition(table, [half - 1, half], axis=1)
            middle = (middles[:, half - 1] + middles[:, half]) / 2 if last_span % 2 == 0 else middles[:, half]
            maybe[rows] = heights[rows] - middle > np.maximum(ratio * np.abs(middle), floor)
    return {int(places[row]): float(heights[row]) for row in np.flatnonzero(maybe)}


def _lowest_median(values: Floats, end: int, span: int, count: int) -> float | None:
    """Gives what no median of `count` windows in a row can be below, from the first of them: each shares all but
    `count` values with it. None where the first window is short, or moves on too far."""
    rank = (span - 1) // 2 - count
    if end < span or rank < 0:
        return None
    return float(np.partition(values[end - span : end], rank)[rank])


def _is_spike(
    height: float, base: Baseline, before: Floats, limits: tuple[float, float, float], floor: float, factor: float
) -> bool:
    scales, scales_signed, ratio = limits
    signed = bool(np.nanmin(before) <= 0)
    needed = (scales_signed if signed else scales) * factor * base.s
    return height - base.med > max(needed, ratio * abs(base.med), floor)


def _onset(loss: Series, spike: Spike) -> int:
    """Gives the sample with which a jump began."""
    begin = spike.index - spike.width + 1
    return begin + int(np.argmax(loss.values[begin : spike.index + 1] > (spike.before.med + spike.height) / 2))


def _verdict(window: Window, recent: list[Spike]) -> Verdict:
    spike, loss = recent[0], window.loss
    onset = _onset(loss, spike)
    step = int(loss.steps[onset])
    now = med(loss.tail(LONG))
    top = float(np.nanmax(loss.values[onset:]))
    recovered = now - spike.before.med <= BACK * spike.before.s
    end = f"it is back at {now:.4g}" if recovered else f"it is at {now:.4g} now"
    main = main_part(window, step)
    calm = main is not None and main[2] <= CALM * main[1]
    if main is not None and calm:
        end += f"; its part `{main[0]}`, most of it before, did not rise"
    return Verdict(
        severity=Severity.INFO if calm else Severity.WARNING,
        first_step=step,
        message=(
            f"The loss jumped from {spike.before.med:.4g} to {spike.height:.4g} at step {step}, "
            f"{(spike.height - spike.before.med) / max(spike.before.s, 1e-12):.3g} times its noise; {end}"
        ),
        advice=(
            "Clip gradients with torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0) between backward and step, "
            "and lower the peak learning rate or lengthen the warm-up. Look at the gradient norm just before the jump: "
            "a tower there means a bad batch or a rate at its limit."
        ),
        evidence=Evidence(
            numbers={
                "before": spike.before.med,
                "scale": spike.before.s,
                "height": spike.height,
                "top": top,
                "now": now,
            },
            series=("loss", "grad_norm"),
            limit=spike.before.med,
        ),
    )
