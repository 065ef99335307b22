"""GW403: batch norm computes its statistics from too few values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._batchnorm import NormLayer, norm_layers
from server.rules._layers import listed
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold


class BnSmallBatch(Rule):
    """The run has batch norms that see too few values

    ## What it does
    Counts the examples, and the values per channel, that reach each batch norm in the median training forward: at most
    4 examples, or fewer than 16 values, is a warning; 3 or 4 examples of at least 64 values are an info, and so is a
    single example of so many values whose stored statistics nobody asks for (one picture at a time, as in pix2pix). The
    variance of n values has a relative error of √(2/(n − 1)), 37 % at 16. Of three values or two it is next to 0 so
    often that its inverse, by which the gradients are multiplied, has no mean: gradients that explode are a symptom of
    it then. A last batch of one example is an info before the first of them comes, and an error where the training
    failed at it: one value has no variance.

    ## Why it matters
    Each example is divided by the noise of its few neighbours, and the stored statistics wander.

    ## What you see in the chart
    A validation loss that jumps, above a training loss that is rough.

    ## What to try
    - `nn.GroupNorm(8, channels)`; `SyncBatchNorm` over several devices; a larger batch.
    - `drop_last=True`, so that the last batch is not one of 1.
    - Fine-tuning: freeze the norms, `module.eval()`.

    ## Example
    ```python
    nn.BatchNorm2d(64)          # wrong with 2 pictures per device
    nn.GroupNorm(8, 64)         # right: does not depend on the batch
    ```

    ## References
    - Wu & He 2018, *Group Normalization*: the error climbs below 8 examples per device.
    - 16 values are ours.
    """

    code = "GW403"
    name = "bn-small-batch"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 4
    chart = "activations"
    tier = "facts"
    clears_after = 3
    stage = Stage.REGULARISATION
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How few are too few."""

        batch: int = threshold(4, unit="examples", low=1, high=64, source="Wu & He 2018")
        values: int = threshold(16, unit="values per channel", low=2, high=1000, source="ours: 37 % noise")
        sure: int = threshold(2, unit="examples", low=1, high=64, source="ours: a warning at any number of values")
        blow_up: int = threshold(
            3,
            unit="values per channel",
            low=2,
            high=16,
            source="1/s² of three normal values has no mean: the gradients that s divides have no usual size",
        )
        many: int = threshold(64, unit="values per channel", low=16, high=100_000, source="ours: 18 % noise")
        samples: int = threshold(3, unit="samples", low=1, high=100, source="ours: not the last batch of an epoch")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `batchnorm`."""
        layers = {name: item for name, item in norm_layers(window).items() if item.samples >= params.samples}
        if not layers:
            yield NotEvaluated(f"{params.samples} training forwards through a batch norm are needed")
            return
        alone = [name for name, item in layers.items() if item.values == item.batch]
        lonely = _last_of_one(window, alone)
        if lonely is not None:
            yield lonely
            return
        small = [
            name for name, item in layers.items() if item.batch <= params.batch or item.values < params.values
        ]  # fmt: skip
        if small:
            item = layers[small[0]]
            noise = math.sqrt(2 / max(item.values - 1, 1))
            few = any(
                layers[name].batch <= params.sure or layers[name].values < params.many for name in small
            )  # with many places in each example the variance is known, though of few examples
            if few and all(_one_picture(layers[name], params) for name in small):
                few = False  # each picture by itself, in training and afterwards
            yield say(
                Severity.WARNING if few else Severity.INFO,
                f"{len(small)} of {len(layers)} batch norms see {item.batch} example{'s' if item.batch != 1 else ''}, "
                f"{item.values} values per channel (the variance is uncertain by {percent(min(noise, 1.5))}): "
                f"{listed(small)}",
                "Use GroupNorm, SyncBatchNorm or a larger batch; drop_last=True if it is only the last batch.",
                layers=small,
                numbers={"examples": item.batch, "values": item.values, "noise": noise},
                limit=float(params.batch),
                stage=Stage.FEW_VALUES if few and item.values <= params.blow_up else None,
            )


def _last_of_one(window: Window, names: list[str]) -> Verdict | None:
    """Tells of a last batch of one row, which norms over rows alone refuse, until an epoch has gone by."""
    data = window.fact("data")
    size, rows = int(data.get("batch_size") or 0), int(data.get("dataset_size") or 0)
    length = int(data.get("batches_per_epoch") or 0)
    left_over = data.get("loader") is True and data.get("drop_last") is False and size > 1 and rows % size == 1
    if not names or not left_over or length != rows // size + 1:
        return None
    epoch = window.series(Kind.EPOCH.value)
    at_last = bool(epoch) and round(epoch.last * length) % length in (length - 1, 0)  # the batch before, or itself
    failed = window.final and window.state in ("failed", "crashed") and at_last
    if not failed and int(data.get("epochs") or 0) > 1:
        return None
    what = f"a single example ({rows:,} in batches of {size})"
    return say(
        Severity.ERROR if failed else Severity.INFO,
        f"The training failed at the last batch of an epoch, which has {what}: batch norm has no variance of one "
        f"value: {listed(names)}"
        if failed
        else f"The last batch of an epoch has {what}, and batch norm has no variance of one value: PyTorch raises "
        f"there: {listed(names)}",
        "DataLoader(…, drop_last=True), or another batch size.",
        step=window.step if failed else 0,
        layers=names,
        numbers={"examples": rows, "batch": size},
        limit=1.0,
    )


def _one_picture(item: NormLayer, params: BnSmallBatch.Params) -> bool:
    """Says whether a norm sees one example of many places, and nobody asked for its stored statistics."""
    return item.batch == 1 and item.values >= params.many and not item.eval_samples
