"""GW903: every epoch has the same order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold


class SamplerEpochNotSet(Rule):
    """The run has epochs that all come in the same order

    ## What it does
    A sampler that shuffles by its epoch number (`DistributedSampler`) and whose number is the same in two epochs is an
    error. So is `next(iter(loader))` in every step on a loader that does not shuffle: it gives the first batch for
    ever. A plain loader without shuffling is an info after three epochs.

    ## Why it matters
    The model sees the same batches in the same order again and again, and learns the order too; ranks keep the same
    share of the data for ever.

    ## What you see in the chart
    A loss with a pattern that repeats every epoch.

    ## What to try
    - `sampler.set_epoch(epoch)` before each epoch.
    - `DataLoader(…, shuffle=True)`.

    ## Example
    ```python
    for epoch in range(epochs):
        sampler.set_epoch(epoch)      # forgotten: the same order each time
        for batch in loader: ...
    ```

    ## References
    - PyTorch, `torch.utils.data.distributed.DistributedSampler`: set_epoch; issue 31771.
    - Exact test.
    """

    code = "GW903"
    name = "sampler-epoch-not-set"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 2
    chart = "loss"
    tier = "facts"
    clears_after = None
    stage = Stage.DATA
    exact = True

    @dataclass(frozen=True)
    class Params:
        """After how many epochs a plain loader is told of."""

        epochs: int = threshold(3, unit="epochs", low=2, high=1000, source="ours: a single pass needs no shuffling")
        steps: int = threshold(20, unit="steps", low=5, high=10_000, source="ours: more than a try")
        begun: float = threshold(0.9, unit="of the steps", low=0.5, high=1.0, source="ours: each step begins an epoch")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `data`."""
        data = window.fact("data")
        if not data.get("loader"):
            yield NotEvaluated("no DataLoader was seen", "for batch in DataLoader(…):")
            return
        epochs = int(data.get("epochs") or 0)
        if data.get("epoch_set") is False and epochs >= 2:
            yield say(
                Severity.ERROR,
                f"{data.get('sampler')} was not told the epoch: {epochs} epochs have the same order",
                "Call loader.sampler.set_epoch(epoch) at the start of each epoch.",
                numbers={"epochs": epochs},
                strings={"sampler": str(data.get("sampler"))},
                limit=1.0,
            )
        elif _only_the_first(data, window.samples, params):
            yield say(
                Severity.ERROR,
                f"Each of {window.samples} steps begins the training loader anew and takes its first batch, which is "
                f"always the same: {data['batches_per_epoch'] - 1} of {data['batches_per_epoch']} are never seen",
                "Write `for batch in loader:`; or keep one iterator and call next() on that, and make a new one when "
                "it has ended.",
                numbers={"epochs": epochs, "steps": window.samples, "batches": int(data["batches_per_epoch"])},
                series=("loss",),
                limit=1.0,
            )
        elif data.get("shuffle") is False and epochs >= params.epochs and not data.get("iterable"):
            yield say(
                Severity.INFO,
                f"The training loader does not shuffle: {epochs} epochs have the same order",
                "DataLoader(…, shuffle=True), unless the order carries meaning.",
                numbers={"epochs": epochs},
                limit=float(params.epochs),
            )


def _only_the_first(data: Mapping[str, Any], steps: int, params: SamplerEpochNotSet.Params) -> bool:
    """Says whether a loader that does not shuffle was begun as often as steps were taken."""
    several = isinstance(data.get("batches_per_epoch"), int) and data["batches_per_epoch"] > 1
    begun = int(data.get("epochs") or 0)
    fixed = data.get("shuffle") is False and not data.get("iterable") and data.get("sampler") == "SequentialSampler"
    return several and fixed and steps >= params.steps and begun >= params.begun * steps
