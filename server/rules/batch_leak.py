"""GW103: the answer for one sample depends on another one of the batch: tried before training, or seen in a shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._layers import layers
from server.rules._loss_call import loss_call
from server.rules._preflight import PreflightRule
from server.rules._say import say

RECURRENT = ("RNN", "LSTM", "GRU")


class BatchLeak(PreflightRule):
    """The run has a model whose answer for one sample depends on others of the batch

    ## What it does
    In evaluation mode, preflight replaces one sample of a small batch by another real one and compares the answers for
    the samples that stayed. A change above 0.0001 of the answer's size, and above 100 times the difference of two equal
    passes, is an error. Batch norm couples samples in training mode only, so it is never reported. In training, the
    shapes tell of a recurrent layer without `batch_first=True` whose first dimension is the batch (there are as many
    targets, and not as many of anything in its second): it reads the samples as time steps.

    ## Why it matters
    The model mixes samples: what it learns is about pairs that never meet again, and its answers change with the batch.

    ## What you see in the chart
    The change of each other sample's answer, on the preflight page, above the limit.

    ## What to try
    - `x.transpose(0, 1)` or `permute`, where a `view` or `reshape` only relabels the memory.
    - `softmax(dim=-1)` and `mean(dim=-1)` instead of `dim=0`.
    - `batch_first=True` for recurrent and attention layers that are given batches first.

    ## Example
    ```python
    attention = scores.softmax(dim=0)      # wrong: over the samples
    attention = scores.softmax(dim=-1)     # right
    ```

    ## References
    - A. Karpathy, *A Recipe for Training Neural Networks* (2019): use backprop to chart dependencies.
    - 0.0001 is ours: low-precision kernels give about as much between two layouts of a batch.
    """

    code = "GW103"
    name = "batch-leak"
    severity = Severity.ERROR
    chart = "loss"

    def check(self, window: Window, params: Any) -> Iterator[Verdict | NotEvaluated]:
        """Looks at the shapes of recurrent layers, then at what preflight found."""
        found = _samples_as_time(window)
        if found is None:
            yield from super().check(window, params)
            return
        name, first, second = found
        yield say(
            Severity.ERROR,
            f"`{name}` reads the {first} samples of a batch as {first} time steps of {second} sequences: it was made "
            "without batch_first=True",
            f"Make `{name}` with batch_first=True, or give it (time, batch, features) by x.transpose(0, 1).",
            layers=(name,),
            numbers={"samples": first, "second_dimension": second},
            series=("loss",),
        )


def _samples_as_time(window: Window) -> tuple[str, int, int] | None:
    """Finds a recurrent layer whose time is the batch: its name and the first two dimensions of what it puts out."""
    call = loss_call(window)
    targets: tuple[int, ...] = call.target.shape if call is not None else ()
    if not targets:
        return None
    for layer in layers(window):
        shape: list[int] = list(layer.get("output_shape") or [])
        if layer.get("type") not in RECURRENT or (layer.get("arguments") or {}).get("batch_first") is not False:
            continue
        if len(shape) != 3 or shape[0] != targets[0] or shape[1] in (1, targets[0]):
            continue
        if len(targets) == 1 or targets[1] != shape[1]:  # else time comes first in the targets as well
            return str(layer.get("name")), shape[0], shape[1]
    return None
