"""GW103: before training, the answer for one sample depended on another one of the batch."""

from __future__ import annotations

from server.domain.findings import Severity
from server.rules._preflight import PreflightRule


class BatchLeak(PreflightRule):
    """The run has a model whose answer for one sample depends on others of the batch

    ## What it does
    In evaluation mode, preflight replaces one sample of a small batch by another real one and compares the answers for
    the samples that stayed. A change above 0.0001 of the answer's size, and above 100 times the difference of two equal
    passes, is an error. Batch norm couples samples in training mode only, so it is never reported.

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
