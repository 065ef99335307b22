"""GW605: a batch with NaN or infinity in it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._flight import INPUT, Origin, origins
from server.rules._loss_call import loss_call
from server.rules._say import percent, say
from server.rules.base import Rule, Stage


class NonfiniteInput(Rule):
    """The run has batches with NaN or infinity in inputs or targets

    ## What it does
    Looks at the inputs of every measured step and at the targets of the loss: one value that is not finite is an error.
    Of a step that was not measured the flight recorder tells, where the loss broke: whether the first value that was no
    number came into the model from outside, made by no layer.

    ## Why it matters
    It is the first cause of all others: NaN in, NaN out, and after one optimizer step NaN everywhere.

    ## What you see in the chart
    A loss that becomes NaN at once, without growing before.

    ## What to try
    - Missing values in tables: `frame.isna().sum()`; fill them or drop the rows.
    - log(0), 0/0 and divisions by a standard deviation of 0 in the preprocessing.

    ## Example
    ```python
    x = (x - mean) / std                      # NaN where a column is constant
    x = (x - mean) / std.clamp(min=1e-6)      # right
    ```

    ## References
    - Exact test.
    """

    code = "GW605"
    name = "nonfinite-input"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 2
    chart = "loss"
    tier = "facts"
    clears_after = None
    stage = Stage.DATA
    exact = True

    def check(self, window: Window, params: Rule.Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the facts `inputs`, `loss_call` and `flight`."""
        del params  # it has no thresholds
        inputs = {name: item for name, item in window.fact("inputs").items() if isinstance(item, Mapping)}
        call = loss_call(window)
        origin = next((origin for origin in origins(window) if origin.where == INPUT), None)
        if not inputs and call is None and origin is None:
            yield NotEvaluated("no input and no target was seen yet")
            return
        for name, item in inputs.items():
            found = item.get("nonfinite")
            if isinstance(found, Mapping):
                step = int(found.get("first_step") or 0)
                whose = "" if name == "model" else f" of `{name}`"
                yield say(
                    Severity.ERROR,
                    f"The inputs{whose} hold NaN or infinity, first at step {step} (in {found.get('batches')} of the "
                    "batches that were looked at)",
                    "Check where a batch is made: torch.isfinite(x).all(); missing values, 0/0 and log(0) are "
                    "the usual "
                    "sources.",
                    step=step,
                    numbers={"batches": float(found.get("batches") or 0)},
                    series=("loss",),
                    limit=0.0,
                )
                return
        if call is not None and call.target.nonfinite > 0:
            yield say(
                Severity.ERROR,
                f"{percent(call.target.nonfinite)} of the targets are NaN or infinite",
                "Drop or fill missing targets; check the transformation that made them (log of 0, division by 0).",
                numbers={"share": call.target.nonfinite},
                series=("loss",),
                limit=0.0,
            )
            return
        if origin is not None:
            yield _of_the_recorder(origin)


def _of_the_recorder(origin: Origin) -> Verdict:
    into = f" where they go into `{origin.module}`" if origin.module else ""
    many = f" ({origin.tensors} of {math.prod(origin.shape):,} values)" if origin.tensors and origin.shape else ""
    there = f"`{origin.module}`" if origin.module else "the model"
    finite = origin.in_batch == 0
    between = f"; what the loader gave was finite, so it arose between the loader and {there}" if finite else ""
    return say(
        Severity.ERROR,
        f"The inputs hold NaN or infinity at step {origin.step}{into}{many}{between}",
        (
            f"Look at what is done with a batch before {there} (a division, a logarithm, a part without gradients): "
            if finite
            else "Check where that batch is made (missing values, 0/0, log(0)): "
        )
        + "assert torch.isfinite(x).all(). The run page has the fingerprint of that batch.",
        step=origin.step,
        layers=(origin.module,),
        numbers={"values": float(origin.tensors)},
        series=("loss",),
        limit=0.0,
    )
