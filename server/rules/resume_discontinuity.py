"""GW507: after a resume the loss or the learning rate is not what it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med
from server.rules._layers import groups, is_adaptive, optimizers
from server.rules._say import say
from server.rules._schedules import schedulers
from server.rules.base import Rule, Stage, threshold

SLOW = ("GW206", "GW209", "GW214", "GW412")  # all that can come of a lower rate
UNSTEADY = (*SLOW, "GW205", "GW207", "GW208", "GW307")  # … and of averages that begin anew, but no value that is none


class ResumeDiscontinuity(Rule):
    """The run has a resume that did not go on where it had stopped

    ## What it does
    Compares the first 20 losses of an attempt with the last 50 of the one before: higher by 6 scales and 20 %, or a
    learning rate that changed by more than a factor of 2, is a warning. So is an optimizer with a memory (Adam,
    momentum) that remembers nothing, though the loss goes on from where it was. A rate that nobody schedules, and that
    is lower now and stays so, was probably lowered on purpose: an info.

    ## Why it matters
    Weights were restored, but not the optimizer, the schedule or the scaler: the run forgets what it learned, or goes
    on at another rate.

    ## What you see in the chart
    A step in the loss at the seam.

    ## What to try
    Save and load all of `model`, `optimizer`, `scheduler`, `scaler`, the epoch and the random state.

    ## Example
    ```python
    torch.save({"model": model.state_dict()}, path)                                              # wrong
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), …}, path)      # right
    ```

    ## References
    - PyTorch, *Saving and loading a general checkpoint*.
    - The limits are ours.
    """

    code = "GW507"
    name = "resume-discontinuity"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 4
    needs = (Kind.LOSS,)
    chart = "loss"
    clears_after = None
    stage = Stage.STRUCTURE
    exact = True
    levels = {"before": "before the join"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How large a step is one."""

        sigmas: float = threshold(6.0, unit="scales", low=2.0, high=50.0, source="ours")
        rise: float = threshold(0.2, unit="of the loss before", low=0.01, high=10.0, source="ours")
        rate: float = threshold(
            2.0, unit="times", low=1.1, high=100.0, source="ours: schedules move less between steps"
        )
        samples: int = threshold(20, unit="samples", low=3, high=1000, source="ours")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `previous_attempt`."""
        before = window.fact("previous_attempt")
        if not before:
            yield NotEvaluated("the run was not resumed")
            return
        first = window.loss.values[: params.samples]
        if len(first) < params.samples and not window.final:
            yield NotEvaluated(f"{params.samples} losses after the resume are needed, {len(first)} are in")
            return
        now, level, scale = med(first), float(before.get("loss") or 0), float(before.get("scale") or 0)
        step = int(window.loss.steps[0])
        if np.isfinite(now) and now > level + max(params.sigmas * scale, params.rise * abs(level)):
            yield say(
                Severity.WARNING,
                f"After the resume at step {step} the loss is {now:.4g}; before it was {level:.4g}",
                "Restore optimizer, scheduler, scaler and random state together with the weights.",
                step=step,
                numbers={"before": level, "after": now, "scale": scale},
                series=("loss",),
                limit=level + params.rise * abs(level),
            )
            return
        changed = _changed_rate(window, before, params)
        if changed is not None and not changed.by_hand:
            rates = window.series(f"lr/{changed.group}").values
            lower = bool(np.nanmax(rates) < changed.before) and not _fresh(window)  # no warm-up that begins anew
            yield say(
                Severity.WARNING,
                f"After the resume at step {step} the learning rate of group `{changed.group}` is "
                f"{changed.now:.3g}; before it was {changed.before:.3g}",
                "Restore the scheduler: scheduler.load_state_dict(…)."
                if schedulers(window)
                else "Load the optimizer's state, which holds its rate: optimizer.load_state_dict(…).",
                step=step,
                numbers={"before": changed.before, "after": changed.now},
                series=(f"lr/{changed.group}",),
                limit=params.rate,
                aside=lower,
                explains=SLOW if lower else (),
            )
            return
        if fresh := _fresh(window):
            yield say(
                Severity.WARNING,
                f"After the resume at step {step} the loss goes on from where it was, but {fresh} remembers nothing: "
                "its averages of the gradients begin anew",
                "Save optimizer.state_dict() beside the weights, and load it before the first step.",
                step=step,
                strings={"optimizer": fresh},
                series=("loss",),
                limit=0.0,
                aside=True,
                explains=UNSTEADY,
            )
        elif changed is not None:
            yield say(
                Severity.INFO,
                f"The run was resumed at step {step} with a lower learning rate of group `{changed.group}`: "
                f"{changed.now:.3g}; before it was {changed.before:.3g}",
                "Nothing if it was meant, as after a divergence; else restore it: optimizer.load_state_dict(…).",
                step=step,
                numbers={"before": changed.before, "after": changed.now},
                series=(f"lr/{changed.group}",),
                limit=params.rate,
            )


@dataclass(frozen=True)
class _Changed:
    """A learning rate before and after the resume; `by_hand` where nothing but a person can have lowered it."""

    group: str
    before: float
    now: float
    by_hand: bool


def _changed_rate(window: Window, before: Mapping[str, Any], params: ResumeDiscontinuity.Params) -> _Changed | None:
    """Finds a learning rate that changed by more than the factor; one that nobody lowered by hand comes first."""
    rates = before.get("lr")
    found = []
    for name, old in rates.items() if isinstance(rates, Mapping) else ():
        values = window.series(f"lr/{name}").values
        if len(values) and old > 0 and not 1 / params.rate <= (now := float(values[0])) / old <= params.rate:
            plain = not schedulers(window) and bool((values[: params.samples] == now).all())
            found.append(_Changed(str(name), float(old), now, by_hand=plain and 0 < now < old))
    return min(found, key=lambda one: one.by_hand, default=None)


def _fresh(window: Window) -> str:
    """Names an optimizer that needs a memory and had none before its first step."""
    empty = window.fact("optimizer_state").get("empty") or ()
    several = len(optimizers(window)) > 1
    for name, kind, group in groups(window):
        if (is_adaptive(kind) or group.get("momentum")) and (name.partition(".")[0] in empty or not several):
            return kind if empty else ""
    return ""
