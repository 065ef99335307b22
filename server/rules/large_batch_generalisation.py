"""GW401: few, very large batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._layers import uses_closures
from server.rules._loss_call import loss_call
from server.rules._progress import loss_quarters, still_falling
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold

UNTRAINED = ("GW206", "GW311", "GW805")  # what a model is like that made hardly any step


class LargeBatchGeneralisation(Rule):
    """The run has few steps because its batches are very large

    ## What it does
    Compares the batch with the training set: fewer than 10 steps in an epoch is an info. With at most 2 steps in an
    epoch, a batch of 256 and more, fewer than 300 steps in all and a loss that still falls at the end it is a warning:
    the batch, not the learning rate, starves the run of updates. LBFGS, which wants the whole set, is exempt.

    ## Why it matters
    Progress is made per step, not per example. Very large batches may also end in sharper minima that generalise worse.
    Batch normalisation does not cure that by itself (the networks of the paper below used it).

    ## What you see in the chart
    A smooth curve with few points, cut off on its way down.

    ## What to try
    - A batch of 32 to 256; or as many *steps* as before, with the learning rate tuned again and a warm-up.

    ## Example
    ```python
    DataLoader(data, batch_size=len(data))     # one step an epoch
    DataLoader(data, batch_size=64)            # hundreds
    ```

    ## References
    - Keskar et al. 2017, *On Large-Batch Training for Deep Learning*; Shallue et al. 2019, *Measuring the Effects of
      Data Parallelism*: with tuned settings the batch sets the speed, not the quality.
    - 10 %: Keskar et al. compare 256 with a tenth of the data. The rest is ours.
    """

    code = "GW401"
    name = "large-batch-generalisation"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 4
    chart = "loss"
    tier = "facts"
    clears_after = None
    gates = ("moving_target",)
    stage = Stage.STARVED

    @dataclass(frozen=True)
    class Params:
        """How few steps are few."""

        steps: int = threshold(
            10, unit="steps per epoch", low=1, high=1000, source="Keskar et al.: a tenth of the data"
        )
        starved: int = threshold(2, unit="steps per epoch", low=1, high=100, source="ours: (nearly) the whole set")
        batch: int = threshold(256, unit="examples", low=16, high=1_000_000, source="ours: smaller sets have no choice")
        updates: int = threshold(300, unit="steps in all", low=10, high=100_000, source="ours: then it is too few")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `data`, or the loss call where the set is one batch."""
        data = window.fact("data")
        size = _number(data.get("dataset_size"))
        call = loss_call(window)
        batch = _number(data.get("batch_size")) or (call.batch_size if call else None)
        per_epoch = _number(data.get("batches_per_epoch"))
        if per_epoch is None and size and batch:
            per_epoch = -(-size // batch)
        if per_epoch is None or not batch:
            yield NotEvaluated(
                "the size of the training set is not known",
                'watch(…, config={"batch_size": 64, "dataset_size": 10_000})',
            )
            return
        if per_epoch >= params.steps or uses_closures(window):
            return
        parts = loss_quarters(window) if window.final else None
        falling = window.final and parts is not None and still_falling(parts, window.loss.values)
        starved = falling and parts is not None and parts.q4 > 0.5 * abs(parts.start)
        share = batch / size if size and batch <= size else 1 / per_epoch  # a last batch may be smaller, or left out
        few = window.samples < params.updates and per_epoch <= params.starved and batch >= params.batch
        yield say(
            Severity.WARNING if starved and few else Severity.INFO,
            f"An epoch has {per_epoch:.0f} steps of {batch:.0f} examples"
            + (
                f": {window.samples} steps in all were too few, the loss was still falling (now {parts.q4:.4g}, "
                f"{parts.start:.4g} at first)"
                if starved and few and parts is not None
                else f" ({percent(share)} of the training set each)"
            ),
            "Use batches of 32 to 256 examples; a larger batch needs as many steps, with the learning rate tuned "
            "again.",
            numbers={"steps_per_epoch": per_epoch, "batch_size": batch, "steps": window.samples},
            series=("loss",),
            limit=float(params.steps),
            explains=UNTRAINED if few else (),
        )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value > 0 else None
