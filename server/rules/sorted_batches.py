"""GW111: each batch holds only one or few of the classes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._layers import optimizers
from server.rules._loss_call import BINARY, CROSS_ENTROPIES, NOT_SEEN, REGRESSION, LossCall, entropy, loss_call
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold

PICKED = ("Gather", "Index")  # values of actions, one of a row


class SortedBatches(Rule):
    """The run has batches that hold one class at a time

    ## What it does
    Compares the median entropy of the labels within one batch with the entropy of all labels seen. Random batches of B
    lose only about (C − 1)/(2B) nats; less than half of the whole means that the data come in order of their class,
    unless the batches hold what was seen until then: lessons of new classes in which the old ones come back. Of
    a regression with one target for each sample, that less than a tenth of the variance of the targets is found within
    a batch; random batches of B hold 1 − 1/B of it. Values of actions are left out: their targets rise as they are
    learned.

    ## Why it matters
    The model learns "everything is class 0", then "everything is class 1": it forgets in each stretch what it learned
    in the one before, and batch norm follows a distribution that no test set has.

    ## What you see in the chart
    A loss that falls within a stretch and jumps at each new one, like a saw.

    ## What to try
    - `DataLoader(…, shuffle=True)`; for an IterableDataset a shuffle buffer that holds many classes.
    - Shuffle the file list once before it is written, when the data are streamed.

    ## Example
    ```python
    loader = DataLoader(dataset, batch_size=64)                  # wrong when the files are sorted by class
    loader = DataLoader(dataset, batch_size=64, shuffle=True)    # right
    ```

    ## References
    - Bottou 2012, *Stochastic Gradient Descent Tricks*: shuffle the examples.
    - 0.5 is ours: far below what random batches of eight or more can lose.
    """

    code = "GW111"
    name = "sorted-batches"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 3
    chart = "loss"
    tier = "facts"
    clears_after = None
    stage = Stage.DATA
    exact = True

    @dataclass(frozen=True)
    class Params:
        """When batches count as sorted."""

        share: float = threshold(0.5, unit="of the entropy of all labels", low=0.05, high=0.95, source="ours")
        batches: int = threshold(
            20, unit="batches", low=3, high=1000, source="ours: a stretch of one class can be chance"
        )
        batch_size: int = threshold(8, unit="labels", low=2, high=1000, source="smaller batches lose entropy by chance")
        common: float = threshold(
            0.1, unit="of the labels", low=0.0, high=0.5, source="ours: two classes must be common"
        )
        within: float = threshold(
            0.1, unit="of the targets' variance", low=0.001, high=0.9, source="ours: random batches of eight hold 0.88"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the label counts of the fact `loss_call`."""
        call = loss_call(window)
        if call is None:
            yield NOT_SEEN
            return
        if call.function in REGRESSION and call.target.within is not None:
            yield from _by_amount(window, call, params)
            return
        if call.function not in CROSS_ENTROPIES | BINARY or not call.labels or call.batch_entropy is None:
            yield NotEvaluated("the loss was not called with class ids in batches of eight or more")
            return
        if call.calls_per_step > 1 or len(optimizers(window)) > 1:
            yield NotEvaluated("the loss is called more than once a step, so one call is not one batch")
            return
        size, classes = call.per_batch, len(call.labels)
        if size < max(params.batch_size, classes / 2):
            yield NotEvaluated(f"batches of {size:.0f} labels are too small for {classes} classes")
            return
        if call.batches < params.batches and not window.final:
            yield NotEvaluated(f"{params.batches} batches are needed, {call.batches} are in")
            return
        total, whole = sum(call.labels.values()), entropy(call.labels)
        common = sum(count >= params.common * total for count in call.labels.values())
        within, so_far = call.label_entropies or (0.0, whole)
        if within >= params.share * so_far:
            return  # what was seen comes back in each batch: new classes join the old ones, lesson by lesson
        if common >= 2 and call.batch_entropy < params.share * whole:
            yield say(
                Severity.WARNING,
                f"The labels within a batch have an entropy of {call.batch_entropy:.2f} nats, all labels together "
                f"{whole:.2f} ({classes} classes): the batches are sorted by class",
                "Shuffle: DataLoader(…, shuffle=True), or a shuffle buffer for a stream. If the order carries meaning "
                "(time series), keep it but let each batch hold several series.",
                numbers={"batch_entropy": call.batch_entropy, "entropy": whole, "classes": classes},
                series=("loss",),
                limit=params.share * whole,
            )


def _by_amount(window: Window, call: LossCall, params: SortedBatches.Params) -> Iterator[Verdict | NotEvaluated]:
    """Judges how much of the variance of regression targets is found within a batch."""
    if call.calls_per_step > 1 or len(optimizers(window)) > 1:
        yield NotEvaluated("the loss is called more than once a step, so one call is not one batch")
    elif math.prod(call.target.shape) != call.batch_size or call.batch_size < params.batch_size:
        yield NotEvaluated(f"batches of {params.batch_size} targets are needed, one number for each sample")
    elif call.batches < params.batches and not window.final:
        yield NotEvaluated(f"{params.batches} batches are needed, {call.batches} are in")
    elif window.gates.moving_target or call.previous_op.startswith(PICKED):
        yield NotEvaluated("targets that the training makes itself move from batch to batch")
    elif window.fact("data").get("shuffle") is not True and (call.target.within or 0.0) < params.within:
        yield say(
            Severity.WARNING,
            f"{percent(call.target.within or 0.0)} of the variance of the targets is found within a batch, the rest "
            "between batches: the batches are sorted by the target",
            "Shuffle: DataLoader(…, shuffle=True), or a shuffle buffer for a stream. If the order carries meaning "
            "(time series), keep it but let each batch hold several series.",
            numbers={"within": call.target.within or 0.0},
            series=("loss",),
            limit=params.within,
        )
