"""GW412: the weights hardly move, and the loss is still high."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Floats
from server.domain.statistics import Quarters, finite
from server.rules._layers import groups
from server.rules._loss_call import CROSS_ENTROPIES, expected, knew_before, loss_call
from server.rules._progress import SURE_ERRORS, brisk, loss_quarters, still_falling
from server.rules._rates import medians, path_length, update_series
from server.rules._spikes import norms
from server.rules.base import Rule, Stage, threshold

OTHER_CAUSES = frozenset({"GW212", "GW306", "GW308", "GW309", "GW311", "GW606"})  # nothing moves because nothing flows
SAME_ANSWERS = "GW311"  # also said where one class wins by little, which is how a network starts
DIFFERENT = 0.02  # of the spread of all outputs
NOT_UNDONE = 0.1  # of what the first loss had above that of equal answers
FAR = 30  # times less than needed: 3 to 10 times the rate would change nothing
ALIVE = 50  # newest samples in which gradients and updates must be above zero


class LrTooLow(Rule):
    """The run has a learning rate so low that its weights hardly leave their start

    ## What it does
    At the end of the run: P is the sum over all steps of U, the median over the weight matrices of ‖Δw‖/‖w‖. No weight
    matrix can have moved further than P of its own size. With the loss still above half of its start, it fires when P <
    0.1, or when P < 0.6 and the loss was still falling: the third quarter of the run beats the last by more than its
    error and by more than 15 % of all that was gained (or the whole gain is below 10 %); or it fell for sure, and more
    than a tenth of what a cross-entropy had above the ln C of equal answers is still there: not even the start is
    undone. Where the pace would halve the loss within 500 steps, the run was short rather than slow, and this is an
    info. A run that starts below 0.3 of the loss of an untrained model is left alone: it came trained. While a run
    whose length is known is on its way, P is projected to its end and a value below 0.1 is an info.

    ## Why it matters
    The run is not wrong, it is just not going to arrive: the same result would take 3 to 100 times the steps.

    ## What you see in the chart
    A loss that falls in a straight, shallow line; update ratios of 1e-5 and below.

    ## What to try
    - Multiply the learning rate by 3 to 10 and look at the same number of steps; by far more where the weights
      could not move by a tenth of the limit.
    - Look for a schedule that decays too early: print `scheduler.get_last_lr()`.
    - Plain SGD: momentum 0.9 makes its steps up to 10 times as long.

    ## Example
    ```python
    optimizer = SGD(model.parameters(), lr=1e-6)                   # wrong: 1,000 steps move nothing
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)      # right
    ```

    ## References
    - Triangle inequality: ‖w_T − w_0‖ ≤ Σ ‖Δw_t‖.
    - A limit on U alone (1e-4 TheDeepChecker, 1e-8 SageMaker Debugger) is normal in fine-tuning or below the resolution
      of float32; ours knows the length of the run.
    """

    code = "GW412"
    name = "lr-too-low"
    severity = Severity.WARNING
    since = "0.1.0"
    version = 6
    needs = (Kind.PARAM_UPDATE_RATIO, Kind.LOSS)
    chart = "updates"
    tier = "layers"
    every = 50
    clears_after = 1
    gates = ("finetune", "moving_target")
    whole_run = True
    stage = Stage.LOW_RATE
    levels = {"start": "first losses"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How far the weights must be able to move."""

        path: float = threshold(
            0.1,
            unit="of the weights' size, over the run",
            low=1e-4,
            high=1.0,
            relax="up",
            source="ours: aligned steps could not change a tenth",
        )
        path_falling: float = threshold(
            0.6,
            unit="of the weights' size, over the run",
            low=1e-3,
            high=10.0,
            source="ours: real steps turn, so half arrives",
        )
        high_loss: float = threshold(
            0.5, unit="of the first losses", low=0.0, high=1.0, source="ours: more than half is left to learn"
        )
        falling: float = threshold(
            0.15,
            unit="of the gain, in the last quarter",
            low=0.01,
            high=0.34,
            source="a straight line gives 1/3, a converged run 0",
        )
        steps_to_half: int = threshold(
            500,
            unit="steps in which its pace halves the loss",
            low=20,
            high=100_000,
            source="ours: a faster run is short rather than slow, and only told",
        )
        solved: float = threshold(
            0.3,
            unit="of the loss of an untrained model",
            low=0.0,
            high=1.0,
            source="ours: a start that low is that of trained weights",
        )
        small_gain: float = threshold(
            0.1, unit="of the first losses", low=0.0, high=1.0, source="ours: hardly anything was learned"
        )
        last_eighth: float = threshold(
            0.08,
            unit="of the loss, over an eighth of the run",
            low=0.01,
            high=0.5,
            source="ours: a second sign of a slope",
        )
        errors: float = threshold(
            3.0, unit="standard errors", low=1.0, high=10.0, source="beyond the noise of the medians"
        )
        samples: int = threshold(40, unit="samples", low=10, high=10_000, source="ours: less is a smoke test")
        looks: int = threshold(
            5, unit="measured steps", low=1, high=100, source="ours: the first step of an optimizer is no typical one"
        )
        live_share: float = threshold(
            0.25, unit="of the plan", low=0.05, high=1.0, source="ours: schedules have shown their top by then"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the whole run at its end, and a projection of it before."""
        live = bool(window.planned) and window.step >= params.live_share * (window.planned or 0)
        if not window.final and (not live or window.gates.warm_up):
            yield NotEvaluated(
                "judged at the end of the run, or after a quarter of it where total_steps is known",
                "watch(…, total_steps=N)",
            )
            return
        parts = loss_quarters(window)
        if window.samples < params.samples or parts is None:
            yield NotEvaluated(f"{params.samples} losses are needed, {window.samples} are in")
            return
        steps, ratios = medians(window)
        if len(ratios) < params.looks:
            yield NotEvaluated(
                f"the updates of {params.looks} measured steps are needed, {len(ratios)} are in"
                if len(ratios)
                else "the updates of no weight matrix were measured"
            )
            return
        others = OTHER_CAUSES & window.open_codes - ({SAME_ANSWERS} if _answers_differ(window) else set())
        if knew_before(window, parts, params.solved) or others or not _alive(window):
            return
        path = path_length(window, steps, ratios)
        high = parts.q4 > params.high_loss * abs(parts.start)
        if not window.final:
            total = path * (window.planned or 0) / (window.step + 1)
            if total < params.path and high:
                yield _projected(window, path, total, ratios, parts, params)
            return
        falling = still_falling(
            parts,
            window.loss.values,
            share=params.falling,
            small_gain=params.small_gain,
            last_eighth=params.last_eighth,
            errors=params.errors,
        )
        if high and path < params.path:
            yield _verdict(window, path, params.path, ratios, parts, "")
        elif high and path < params.path_falling and falling:
            short = brisk(parts, window.samples, params.steps_to_half, params.high_loss)
            level = Severity.INFO if short else Severity.WARNING
            yield _verdict(window, path, params.path_falling, ratios, parts, " and was still falling", level)
        elif high and path < params.path_falling and (guess := _above_a_guess(window, parts)):
            told = f", still above the {guess:.4g} of equal answers"
            yield _verdict(window, path, params.path_falling, ratios, parts, told)


def _answers_differ(window: Window) -> bool:
    """Says whether the newest outputs of a batch differ from each other, whatever class they name."""
    outputs = [item for item in window.fact("outputs").values() if isinstance(item, Mapping)]
    pairs = [(item.get("batch_std") or [0.0], item.get("all_std") or [0.0]) for item in outputs]
    return bool(pairs) and all((apart[-1] or 0.0) > DIFFERENT * (whole[-1] or 0.0) > 0 for apart, whole in pairs)


def _above_a_guess(window: Window, parts: Quarters) -> float | None:
    """Gives the cross-entropy of equal answers where the loss fell for sure and did not come down to it."""
    call = loss_call(window)
    start = expected(call) if call is not None else None
    if call is None or start is None or call.function not in CROSS_ENTROPIES or call.reduction != "mean":
        return None
    surplus, left = (call.value or 0.0) - start.value, parts.q4 - start.value
    fell = parts.q1 - parts.q4 > SURE_ERRORS * math.hypot(parts.se_first, parts.se_last)
    above = left > max(SURE_ERRORS * parts.se_last, NOT_UNDONE * surplus)
    return start.value if call.alone and surplus > 0 and fell and above else None


def _alive(window: Window) -> bool:
    """Says whether gradients and updates are above zero: in a dead net a small update is no fault of the rate. The
    first update may be none, where what comes behind starts at zero."""
    gradients = finite(norms(window)[1].tail(ALIVE))
    moving = any(
        series.count > 1 and bool(np.all(series.tail(min(ALIVE, series.count - 1)) > 0))
        for series in update_series(window)
    )
    return bool(len(gradients)) and float(np.median(gradients)) > 0 and moving


def _verdict(
    window: Window,
    path: float,
    limit: float,
    ratios: Floats,
    parts: Quarters,
    also: str,
    severity: Severity = Severity.WARNING,
) -> Verdict:
    usual = float(np.median(ratios))
    return Verdict(
        severity=severity,
        first_step=0,
        message=(
            f"In {window.samples} steps the weights can have moved by {path:.2g} of their size at most (limit "
            f"{limit:g}, {usual:.1e} a step), and the loss went from {parts.start:.4g} to {parts.q4:.4g}{also}"
        ),
        advice=_advice(window, limit / path if path > 0 else 1.0),
        evidence=Evidence(
            numbers={"path": path, "update_ratio": usual, **parts.as_numbers()}, series=("loss",), limit=limit
        ),
    )


def _projected(
    window: Window, path: float, total: float, ratios: Floats, parts: Quarters, params: LrTooLow.Params
) -> Verdict:
    usual = float(np.median(ratios))
    return Verdict(
        severity=Severity.INFO,
        first_step=0,
        message=(
            f"At {usual:.1e} of their size a step the weights can move by {total:.2g} at most in the {window.planned} "
            f"planned steps (limit {params.path:g}); the loss went from {parts.start:.4g} to {parts.q4:.4g} so far"
        ),
        advice=_advice(window, params.path / total if total > 0 else 1.0),
        evidence=Evidence(
            numbers={"path": path, "projected": total, "update_ratio": usual, **parts.as_numbers()},
            series=("loss",),
            limit=params.path,
        ),
    )


def _advice(window: Window, short: float) -> str:
    """Says what to do where the weights could move so many times less far than they had to."""
    factor = f"{float(f'{short:.0e}'):,.0f} or more" if short >= FAR else "3 to 10"
    plain = any(kind == "SGD" and not group.get("momentum") for _, kind, group in groups(window))
    return (
        f"Multiply `lr` by {factor} where the optimizer is made (a range test over 100 steps shows how far one can "
        f"go), {'give SGD momentum=0.9, ' if plain else ''}and print scheduler.get_last_lr() to see whether a schedule "
        "has already decayed it."
    )
