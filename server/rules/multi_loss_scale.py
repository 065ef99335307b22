"""GW210: one part of the loss swamps the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Series
from server.domain.statistics import med, window_size
from server.rules._drowned import drowned
from server.rules._say import is_penalty, percent, say
from server.rules.base import Rule, Stage, threshold

LEARNED = 0.95  # of the first values


class MultiLossScale(Rule):
    """The run has parts of a loss of very different size

    ## What it does
    Compares the named parts of the loss by value: the smallest below 0.1 % of all over a whole window is an info. A
    part that is solved (below 1e-6), or that a coefficient moves up from 0, is left out. Gradients would say more than
    values, but need a backward for each part; a small value can have a large gradient, so this stays an info, unless
    such a part (no penalty, by its name) ends where it began: then nothing of it was learned.

    At the end it also looks back at the first 20 values: a part below 1 % of the loss there, while another one fell by
    half or more. Where the small one ends where it began, and a validation loss of its size got no better either, the
    large part is all that was learned: a warning. Where it began as a guess between as many classes as the model has
    outputs, it is an info. Parts that are told without their weights are weighed by the numbers for which they add up
    to the loss of every step.

    ## Why it matters
    The optimizer follows the largest gradient; the other tasks do not train.

    ## What you see in the chart
    One part makes up the whole curve.

    ## What to try
    - Weights that make the gradient norms on the shared layers equal; or uncertainty weighting.
    - Mean instead of sum in each part.

    ## Example
    ```python
    loss = pixel_error.sum() + class_error             # wrong: thousands against one
    loss = pixel_error.mean() + 0.5 * class_error      # right
    monitor.step(loss, pixels=pixel_error, classes=class_error)
    ```

    ## References
    - Chen et al. 2018, *GradNorm*; Kendall et al. 2018, *Multi-Task Learning Using Uncertainty*.
    - 0.1 % is ours.
    """

    code = "GW210"
    name = "multi-loss-scale"
    severity = Severity.INFO
    since = "0.2.0"
    version = 4
    needs = (Kind.LOSS_PART,)
    chart = "loss"
    persistence = (3, 5)
    clears_after = 10
    gates = ("warm_up", "moving_target")
    stage = Stage.STATISTICS
    levels = {"largest": "largest part"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How small a part is too small."""

        share: float = threshold(0.001, unit="of all parts", low=1e-6, high=0.5, relax="up", source="ours")
        outset: float = threshold(
            0.01, unit="of the first losses", low=1e-4, high=0.2, source="ours: a hundred times smaller than the rest"
        )
        solved: float = threshold(1e-6, unit="value", low=0.0, high=1.0, source="ours: solved or masked")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Compares medians over the newest window."""
        parts = window.by_layer(Kind.LOSS_PART)
        if len(parts) < 2:
            yield NotEvaluated("two named parts are needed", "monitor.step(loss, data=a, penalty=b)")
            return
        verdict = drowned(window, parts, params.outset)
        if verdict is not None:
            yield verdict
            return
        width = window_size(window.samples, window.planned)
        sizes = {name: med(np.abs(series.tail(width))) for name, series in parts.items()}
        total = sum(value for value in sizes.values() if np.isfinite(value))
        small = {
            name: value
            for name, value in sizes.items()
            if params.solved < value < params.share * total and parts[name].count >= width and not _rising(parts[name])
        }
        if small:
            least = min(small, key=lambda name: small[name])
            most = max(sizes, key=lambda name: sizes[name])
            unlearned = window.final and _unlearned(parts[least]) and not is_penalty(least) and not is_penalty(most)
            yield say(
                Severity.WARNING if unlearned else Severity.INFO,
                f"Part `{least}` of the loss is {small[least]:.3g}, {percent(small[least] / total)} of all parts; "
                f"`{most}` "
                f"is {sizes[most]:.3g}" + (", and nothing of it was learned" if unlearned else ""),
                f"Compare the gradients of `{least}` and `{most}` on a shared layer, and weight the parts so that "
                "they are "
                "of the same order.",
                step=int(parts[least].steps[max(0, parts[least].count - width)]),
                numbers={"smallest": small[least], "largest": sizes[most], "share": small[least] / total},
                series=(f"loss/{least}", f"loss/{most}"),
                limit=params.share * total,
                at_once=False,
            )


def _rising(series) -> bool:  # type: ignore[no-untyped-def]
    """Says whether a part grows from its start (annealed by a coefficient) or was learned down by 100 times."""
    first, last = med(np.abs(series.values[:20])), med(np.abs(series.tail(20)))
    return bool(last > 3 * first or last < 0.01 * first)


def _unlearned(series: Series) -> bool:
    """Says whether a part ended where it began."""
    first, last = med(np.abs(series.values[:20])), med(np.abs(series.tail(20)))
    return bool(last > LEARNED * first)
