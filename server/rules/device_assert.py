"""GW609: the GPU ended the run because an index lay outside of what it points into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._layers import SHOWN, parameters
from server.rules._loss_call import CROSS_ENTROPIES, loss_call
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

_ASSERTS = ("device-side assert", "device-side assertion")


class DeviceAssert(Rule):
    """The run has been ended by the GPU: an index pointed outside of its table

    ## What it does
    Reads the exception that ended the run. "device-side assert triggered" is said where a kernel was handed an index
    that does not exist; the finding lists what the training indexes: the classes of its loss and the rows of its
    embeddings.

    ## Why it matters
    Kernels run behind the program, so the traceback ends in a line that has nothing to do with it, and after it every
    call fails, until the process is started again. On a CPU the same mistake is an error with the number in it.

    ## What you see in the chart
    A run that ends, often at its first steps, with a loss that looked well.

    ## What to try
    - Class ids must be 0 … classes − 1: `assert 0 <= y.min() and y.max() < logits.shape[1]`. Labels from 1 are the
      usual mistake, a padding of −1 without `ignore_index=-1` the second.
    - Token ids must be below the vocabulary: compare `ids.max()` with `embedding.num_embeddings`, positions with the
      longest sequence.
    - Run one batch on the CPU, or with `CUDA_LAUNCH_BLOCKING=1`: the traceback then ends where the mistake is.
    - `preflight(model, loss_fn, batch)` on the CPU finds it before the training.

    ## Example
    ```python
    loss = F.cross_entropy(logits, labels)        # labels 1 … 10 of 10 classes: device-side assert triggered
    loss = F.cross_entropy(logits, labels - 1)    # 0 … 9
    ```

    ## References
    - PyTorch, *CUDA semantics*: kernels are asynchronous; `CUDA_LAUNCH_BLOCKING=1` makes the failing line visible.
    - PyTorch forums: "CUDA error: device-side assert triggered" is an index out of range in nearly every thread.
    """

    code = "GW609"
    name = "device-assert"
    severity = Severity.ERROR
    since = "0.2.0"
    chart = "loss"
    tier = "facts"
    clears_after = None
    stage = Stage.DATA
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How many tables are named."""

        tables: int = threshold(3, unit="embeddings named", low=1, high=20, source="ours: a sentence that can be read")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `ending`."""
        exception = str(window.fact("ending").get("exception") or "")
        if not exception:
            if not window.final:
                yield NotEvaluated("told by the exception that ends a run, if one does")
            return
        if not any(words in exception for words in _ASSERTS):
            return
        call = loss_call(window)
        classes = call.classes if call is not None and call.function in CROSS_ENTROPIES else None
        tables = [item for item in parameters(window) if "Embedding" in item.layer_type and len(item.shape) == 2]
        indexed = [f"class ids below {classes}"] if classes else []
        indexed += [f"ids below {item.shape[0]:,} in `{item.layer}`" for item in tables[: params.tables]]
        numbers = {f"rows of {item.layer}": float(item.shape[0]) for item in tables[: params.tables]}
        yield say(
            Severity.ERROR,
            "The GPU ended the run by a failed assertion: an index lay outside of its table"
            + (f". This training may use {' and '.join(indexed)}" if indexed else ""),
            "Check the range of labels and ids in a batch, or run one batch on the CPU, where the error names the "
            "number; CUDA_LAUNCH_BLOCKING=1 makes the traceback end at the right line.",
            step=max(window.loss.last_step, 0) if len(window.loss.steps) else 0,
            layers=[item.layer for item in tables][:SHOWN],
            numbers=numbers | ({"classes": float(classes)} if classes else {}),
            strings={"exception": exception.splitlines()[0][:200]},
            series=("loss",),
        )
