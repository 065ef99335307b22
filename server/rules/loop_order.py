"""GW305: the calls of the training loop come in an order that breaks it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._layers import optimizers, uses_closures
from server.rules._offences import Habit, offences
from server.rules.base import Rule, Stage, threshold

OUTSIDE_CLOSURES = frozenset(
    {"step-without-backward", "zero-grad-before-step", "backward-twice", "clip-after-step", "clip-before-backward"}
)

CLIPS_TOLD = 3  # from here on clipping-bug says that the loss scale was clipped, or nothing, and how often
MOST_CLIPS = 0.5  # of them, as there

# kind: (severity, what is seen, which line to change), the worst first
TEXTS: dict[str, tuple[Severity, str, str]] = {
    "step-without-backward": (
        Severity.ERROR,
        "optimizer.step() runs without a backward since the step before",
        (
            "Call `loss.backward()` before every `optimizer.step()`, and take care that zero_grad() does not come "
            "between "
            "the two."
        ),
    ),
    "zero-grad-before-step": (
        Severity.ERROR,
        "zero_grad() clears the gradients between backward() and optimizer.step()",
        "Move `optimizer.zero_grad()` above `loss.backward()`: now every step is taken without a gradient.",
    ),
    "clip-before-backward": (
        Severity.ERROR,
        "gradients are clipped before backward() computes them",
        "Move `clip_grad_norm_(model.parameters(), max_norm)` below `loss.backward()` and above `optimizer.step()`.",
    ),
    "clip-after-step": (
        Severity.ERROR,
        "gradients are clipped after the optimizer has used them",
        "Move `clip_grad_norm_(model.parameters(), max_norm)` above `optimizer.step()`; now it changes nothing.",
    ),
    "clip-before-unscale": (
        Severity.ERROR,
        "gradients are clipped while they carry the loss scale",
        (
            "Call `scaler.unscale_(optimizer)` before `clip_grad_norm_(…)`, then `scaler.step(optimizer)` and "
            "`scaler.update()`."
        ),
    ),
    "backward-twice": (
        Severity.ERROR,
        "backward() runs twice through the same graph before one step",
        (
            "Remove the second `loss.backward()`: it doubles the gradient. `retain_graph=True` only hides the error "
            "message."
        ),
    ),
    "scheduler-before-optimizer": (
        Severity.ERROR,
        "scheduler.step() comes before optimizer.step()",
        (
            "Move `scheduler.step()` below `optimizer.step()`; else the first value of the schedule is never used and "
            "the "
            "rest comes too soon."
        ),
    ),
}


class LoopOrder(Rule):
    """The run has a loop whose calls come in a wrong order

    ## What it does
    The hook counts pairs of calls that cannot be right: clipping before the backward, after the step, or on scaled
    gradients; a step without a backward, or after its gradients were cleared; two backwards through one graph; the
    scheduler before the optimizer. An offence counts when it happened in at least 9 of 10 steps in which it could, 5
    times or more (2 at the end of a short run), in the whole run or since it began. A loop in which no watched
    optimizer has stepped after 256 calls of `monitor.step()`, or at the end after 5, is reported as well, unless a
    GradScaler left the steps out or the weights changed all the same (by hand, or in a compiled step, which nobody
    hears); so is, at the end, one of several optimizers that never stepped.

    ## Why it matters
    Each of these programs runs without an error. Some train a little worse (a schedule one step early), some not at
    all.

    ## What you see in the chart
    Often nothing: that is why the order of calls is checked and not the curve.

    ## What to try
    The order of one iteration, with every optional part:
    ```python
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss_of(batch)).backward()
    scaler.unscale_(optimizer)
    clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer); scaler.update()
    scheduler.step()
    ```

    ## Example
    ```python
    optimizer.step(); clip_grad_norm_(model.parameters(), 1.0)    # wrong: too late
    clip_grad_norm_(model.parameters(), 1.0); optimizer.step()    # right
    ```

    ## References
    - PyTorch, *How to adjust learning rate* and *Automatic Mixed Precision examples*: the order of calls.
    - Exact test; the shares are ours.
    """

    code = "GW305"
    name = "loop-order"
    severity = Severity.ERROR
    since = "0.1.0"
    version = 6
    chart = "loss"
    tier = "facts"
    clears_after = 1
    stage = Stage.STRUCTURE
    exact = True

    @dataclass(frozen=True)
    class Params:
        """When an offence is a habit."""

        times: int = threshold(5, unit="times", low=1, high=100, source="ours: once can be the seam of two phases")
        times_at_end: int = threshold(
            2, unit="times", low=1, high=100, source="ours: an epoch scheduler of a short run steps twice"
        )
        share: float = threshold(
            0.9,
            unit="share of the steps in which it could happen",
            low=0.1,
            high=1.0,
            source="ours: a habit, not an accident",
        )
        calls_without_step: int = threshold(
            256, unit="calls of monitor.step()", low=33, high=100_000, source="ours: no accumulation is that long"
        )
        steps_of_others: int = threshold(
            50, unit="optimizer steps", low=2, high=100_000, source="ours: else its turn may not have come"
        )
        calls_at_end: int = threshold(
            5, unit="calls of monitor.step()", low=1, high=1000, source="ours: less is an import test"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the offences of the `loop` fact."""
        loop = window.fact("loop")
        if not loop:
            yield NotEvaluated(
                "the order of calls was not seen yet", "monitor.step(loss)  # as the last line of each iteration"
            )
            return
        calls, stepped = int(loop.get("calls") or 0), int(loop.get("optimizer_step") or 0)
        if not stepped and calls >= (params.calls_at_end if window.final else params.calls_without_step):
            if loop.get("weights_moved"):
                yield NotEvaluated(
                    "the weights change, but by no step that could be heard: by hand, or in a compiled step",
                    "optimizer.step()  # of an optimizer that is watched, and not inside a compiled function",
                )
            elif _skipped(window):
                yield NotEvaluated("a scaler leaves the steps out, because no gradient is finite (GW611 says more)")
            else:
                yield _never(calls)
            return
        idle = _idle(window) if window.final and stepped >= params.steps_of_others else None
        if idle is not None:
            yield _left_out(idle, stepped)
            return
        habits = list(self._habits(window, loop, params))
        if habits:
            yield _verdict(habits)

    def _habits(self, window: Window, loop: Mapping[str, Any], params: Params) -> Iterator[tuple[str, Habit]]:
        times = params.times_at_end if window.final else params.times
        ignored = OUTSIDE_CLOSURES if uses_closures(window) else frozenset()
        if int(window.fact("clipping").get("scaled") or 0) >= CLIPS_TOLD:
            ignored |= {"clip-before-unscale"}
        if _clips_nothing(window):
            ignored |= {"clip-before-backward"}
        known = list(TEXTS)
        found = []
        for item in offences(loop):
            if item.kind not in TEXTS or item.kind in ignored:
                continue
            twice = item.kind == "backward-twice"  # it is one of two backwards
            if (habit := item.habit(times, params.share, doubled=twice)) is not None:
                found.append((item.kind, habit))
        yield from sorted(found, key=lambda item: known.index(item[0]))


def _clips_nothing(window: Window) -> bool:
    """Says whether clipping-bug tells of calls that found no gradient: before the backward there is none."""
    fact = window.fact("clipping")
    calls, empty = int(fact.get("calls") or 0), int(fact.get("empty") or 0)
    return empty >= CLIPS_TOLD and (empty >= MOST_CLIPS * calls or fact.get("parameters") == 0)


def _verdict(habits: list[tuple[str, Habit]]) -> Verdict:
    kind, (count, of, first) = habits[0]
    severity = max((TEXTS[item][0] for item, _ in habits), key=lambda item: item.rank)
    also = "".join(f"; also {TEXTS[item][1]} ({habit.times} of {habit.of})" for item, habit in habits[1:])
    return Verdict(
        severity=severity,
        first_step=min(habit.first for _, habit in habits),
        message=f"In {count} of {of} steps {TEXTS[kind][1]}, first at step {first}{also}",
        advice=" ".join(TEXTS[item][2] for item, _ in habits),
        evidence=Evidence(
            numbers={item: float(habit.times) for item, habit in habits},
            strings={"kind": kind, "all": ", ".join(item for item, _ in habits)},
            limit=0.0,
        ),
        at_once=True,
    )


def _idle(window: Window) -> str | None:
    """Names an optimizer that holds something and never stepped beside others that did: a rate is sent with every
    step."""
    names = [str(item.get("name")) for item in optimizers(window) if _holds(item)]
    rates = window.by_layer(Kind.LEARNING_RATE)
    stepped = {name for name in names if any(key.startswith(f"{name}.") for key in rates)}
    return next((name for name in names if name not in stepped), None) if stepped else None


def _holds(optimizer: Mapping[str, Any]) -> bool:
    """Says whether there is anything in an optimizer's groups, as far as is known."""
    groups = optimizer.get("groups") or ()
    return not groups or any(group.get("parameters") != 0 for group in groups)


def _left_out(name: str, steps: int) -> Verdict:
    return Verdict(
        severity=Severity.ERROR,
        first_step=0,
        message=(
            f"The optimizer `{name}` never stepped, while others made {steps:,} steps: its weights are those of the "
            "start"
        ),
        advice=f"Call the `step()` of `{name}` after the backward, beside the others; or do not pass it to watch().",
        evidence=Evidence(numbers={"steps": float(steps)}, strings={"optimizer": name}, limit=0.0),
        at_once=True,
    )


def _skipped(window: Window) -> bool:
    """Says whether a scaler's scale only falls: that, not the loop, is why no step is made."""
    changes = np.diff(window.series(Kind.SCALER_SCALE.value).values)
    return bool(np.any(changes < 0) and not np.any(changes > 0))


def _never(calls: int) -> Verdict:
    return Verdict(
        severity=Severity.ERROR,
        first_step=0,
        message=(
            f"No watched optimizer has stepped in {calls} calls of monitor.step(): the weights are those of the start"
        ),
        advice=(
            "Call `optimizer.step()` after `loss.backward()`, on the same optimizer object that was given to "
            "`watch(model, optimizer)`. Under a GradScaler "
            "call `scaler.step(optimizer)` and look whether every step is skipped."
        ),
        evidence=Evidence(numbers={"calls": calls, "optimizer_steps": 0}, strings={"kind": "never-stepped"}, limit=0.0),
        at_once=True,
    )
