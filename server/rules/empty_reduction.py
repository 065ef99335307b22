"""GW604: the loss averages over nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._loss_call import CROSS_ENTROPIES, NOT_SEEN, LossCall, loss_call
from server.rules._nonfinite import bad_layers, scaler_active
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold

PADDED = frozenset({"GW954"})  # places without targets, which are all of them there


class EmptyReduction(Rule):
    """The run has batches of which nothing is left to average

    ## What it does
    Counts the batches of which no target is left (`ignore_index`, an empty mask). With a non-finite loss in the same
    run it is an error: the mean of nothing is NaN. Without one, more than one batch in a thousand is a warning. The
    targets of a loss that is NaN are looked at in any step on the host. On a device not every batch is, so the others
    are known by what they leave: a mean over nothing passes no gradient, so the loss is NaN in one step and finite in
    the next, where any other NaN breaks the weights. This is told where the backward begins at a cross-entropy that
    ignores labels, no loss scaler leaves steps out, no value that was looked at
    was non-finite, and one batch had half of the usual number of labels at most.

    A mean of one's own counts too: where a loss is NaN, autograd's graph is read for a mean, or a sum over its count,
    of which nothing was left: a boolean index that kept no row, a mask of zeros. It is no such mean where something
    behind it chooses (`where`, `nan_to_num`, an index), or the weights were broken before.

    ## Why it matters
    0/0 is NaN, and one step with it destroys all weights.

    ## What you see in the chart
    A loss that ends in NaN without any growth before it.

    ## What to try
    - Skip the batch: `if (labels != -100).any():`
    - `reduction="sum"` divided by `max(count, 1)`.
    - Look why so much is masked: sequences cut before their answer, padding on the wrong side.

    ## Example
    ```python
    loss = F.cross_entropy(logits, labels, ignore_index=-100)      # NaN when all labels are -100
    loss = F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum") / (labels != -100).sum().clamp(min=1)
    loss = error[positive].mean()                                              # NaN in a batch without a positive
    loss = error[positive].sum() / positive.sum().clamp(min=1)
    ```

    ## References
    - PyTorch, `torch.nn.CrossEntropyLoss`: the mean runs over the targets that are not ignored.
    - Exact test; 0.1 % is ours.
    """

    code = "GW604"
    name = "empty-reduction"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 3
    chart = "loss"
    tier = "facts"
    clears_after = None
    stage = Stage.DATA
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How many empty batches are too many."""

        share: float = threshold(0.001, unit="of the batches", low=0.0, high=1.0, source="ours: one in a thousand")
        few: float = threshold(
            0.5, unit="of the usual labels", low=0.0, high=1.0, source="ours: numbers that vary so much reach 0"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges what the graph of a loss of NaN shows, then the counts of the fact `loss_call`."""
        own = _of_ones_own(window)
        if own is not None:
            yield own
            return
        call = loss_call(window)
        if call is None:
            yield NOT_SEEN
            return
        if not call.empty_batches:
            yield from _unseen(window, call, params)
            return
        bad = np.flatnonzero(~np.isfinite(window.loss.values))
        share = call.empty_batches / call.batches
        if len(bad) or share > params.share:
            step = int(window.loss.steps[bad[0]]) if len(bad) else 0
            yield say(
                Severity.ERROR if len(bad) else Severity.WARNING,
                f"In {call.empty_batches} of {call.batches} batches that were looked at every target is ignored"
                + (f", and the loss is not finite since step {step}: the mean of nothing is NaN" if len(bad) else ""),
                "Skip such batches, or divide the sum by max(count, 1); look why the targets are masked.",
                step=step,
                numbers={"empty_batches": call.empty_batches, "batches": call.batches, "share": share},
                strings={"share": percent(share)},
                series=("loss",),
                limit=params.share,
                explains=PADDED,
            )


def _of_ones_own(window: Window) -> Verdict | None:
    """Tells of a mean over nothing in the graph of a loss."""
    fact = window.fact("empty_mean")
    operation, step = fact.get("operation"), fact.get("step")
    if not operation or not isinstance(step, int):
        return None
    losses = fact.get("losses")
    return say(
        Severity.ERROR,
        f"The loss is NaN at step {step} because it averages over nothing: no value was left for "
        f"`{str(operation).partition('Backward')[0]}` of the loss, an empty selection or a mask of zeros",
        "Divide the sum by max(count, 1), or skip the batch: `if mask.any():`. A batch may hold none of what the mask "
        "looks for.",
        step=step,
        numbers={"losses": losses if isinstance(losses, int) else 1},
        strings={"operation": str(operation)},
        series=("loss",),
        at_once=True,
    )


def _unseen(window: Window, call: LossCall, params: EmptyReduction.Params) -> Iterator[Verdict]:
    """Judges losses of NaN that came and went in batches that nobody looked at."""
    averages = call.function in CROSS_ENTROPIES and call.reduction == "mean" and call.alone
    few = call.fewest_kept is not None and call.fewest_kept <= params.few * call.per_batch
    if not (averages and call.ignored and few) or call.input.nonfinite or scaler_active(window):
        return
    values = window.loss.values
    finite = np.flatnonzero(np.isfinite(values))
    gone = np.flatnonzero(np.isnan(values[: finite[-1]])) if len(finite) else finite
    if not len(gone) or np.isinf(values).any():
        return
    step = int(window.loss.steps[gone[0]])
    if bad_layers(window, int(window.loss.steps[-1])):
        return
    share = call.ignored / (call.ignored + call.kept)
    yield say(
        Severity.ERROR,
        f"The loss is NaN at step {step} and finite again after it, and {percent(share)} of the targets are ignored: a "
        f"batch keeps {call.per_batch:.3g} in the mean, {call.fewest_kept} at least, and the mean of none is NaN",
        "Skip batches that keep none, or divide the sum by max(count, 1); look why the targets are masked.",
        step=step,
        numbers={"nan_losses": len(gone), "kept": call.per_batch, "fewest_kept": call.fewest_kept or 0},
        strings={"ignored": percent(share)},
        series=("loss",),
        limit=params.few * call.per_batch,
    )
