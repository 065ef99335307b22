"""GW103: the answer for one sample depends on another one of the batch: tried before training, or seen in a shape."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._layers import layers
from server.rules._loss_call import loss_call
from server.rules._preflight import PreflightRule
from server.rules._samples import samples, time_first
from server.rules._say import say

RECURRENT = ("RNN", "LSTM", "GRU")


class BatchLeak(PreflightRule):
    """The run has a model whose answer for one sample depends on others of the batch

    ## What it does
    In evaluation mode, preflight replaces one sample of a small batch by another real one and compares the answers for
    the samples that stayed. A change above 0.0001 of the answer's size, and above 100 times the difference of two equal
    passes, is an error. Batch norm couples samples in training mode only, so it is never reported.

    In training, the shapes tell of a recurrent layer or transformer block without `batch_first=True` whose first
    dimension is the batch, so that it reads the samples as time steps: there are as many targets as it has in the first
    dimension, and not as many of anything as in the second. Of a transformer block a table of places tells it too: an
    embedding that was asked for as many rows as there are in the second dimension, or a parameter that holds so many
    where the block gets samples and places in the order in which the model was given them.

    The first graph shows a softmax over the samples inside the model, an attention of every sample to every sample
    where `batch_first=True` is missing, and a `view` that gives the dimension of the samples another place in memory,
    or the same sizes in another order: a view moves nothing, so its rows are made of pieces of several samples or
    places.

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
    version = 2
    chart = "loss"

    def check(self, window: Window, params: Any) -> Iterator[Verdict | NotEvaluated]:
        """Looks at the shapes of recurrent layers, softmaxes and views, then at what preflight found."""
        found, mixing = _samples_as_time(window), _softmax_over_samples(window)
        attention, viewed = _attention_over_samples(window), _view_across_samples(window)
        if found is None and mixing is None and (attention is not None or viewed is not None):
            yield attention or viewed  # type: ignore[misc]
            return
        if found is None and mixing is not None:
            shape = "×".join(map(str, mixing))
            yield say(
                Severity.ERROR,
                f"A softmax inside the model goes over dimension 0 of a tensor of {shape}, which are the {mixing[0]} "
                "samples of a batch: what one sample is given is taken from the others",
                "Name the dimension: softmax(x, dim=-1). Without it, F.softmax takes dimension 0 of three.",
                numbers={"samples": mixing[0]},
                series=("loss",),
            )
            return
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
    # the linear layers of an encoder or decoder block see what its attention sees
    blocks = {f"{name.rpartition('.')[0]}.linear1": name for name in time_first(window) if name.endswith("self_attn")}
    for layer in layers(window):
        shape: list[int] = list(layer.get("output_shape") or [])
        name = blocks.get(str(layer.get("name")), str(layer.get("name")))
        recurrent = layer.get("type") in RECURRENT and (layer.get("arguments") or {}).get("batch_first") is False
        if not recurrent and str(layer.get("name")) not in blocks:
            continue
        if len(shape) != 3 or shape[1] in (1, shape[0]):
            continue
        if not recurrent and targets[:1] != (shape[1],) and _numbered(window, shape[0], shape[1]):
            return name, shape[0], shape[1]  # a recurrent layer's learned first state has a dimension of samples
        if targets[:1] == (shape[0],) and (len(targets) == 1 or targets[1] != shape[1]):
            return name, shape[0], shape[1]  # else time comes first in the targets as well
    return None


def _numbered(window: Window, samples: int, places: int) -> bool:
    """Says whether the places lie along the second dimension, whatever the targets look like: an embedding was asked
    for one row for each of so many places, or a parameter holds one behind a dimension of size 1 and the block gets
    samples and places in the order in which the model was given them."""
    known: dict[str, list[int]] = {
        str(item.get("name")): list(item.get("shape") or []) for item in window.fact("model").get("parameters") or ()
    }
    tables = {f"{layer.get('name')}.weight" for layer in layers(window) if layer.get("output_shape")}
    rows = [
        known.get(f"{layer.get('name')}.weight")
        for layer in layers(window)
        if layer.get("type") == "Embedding" and list(layer.get("output_shape") or [])[:-1] == [places]
    ]
    held = any(shape[:2] == [1, places] and len(shape) == 3 for name, shape in known.items() if name not in tables)
    given = [item.get("shape") or [] for item in window.fact("inputs").values() if isinstance(item, Mapping)]
    in_order = any(list(shape)[:2] == [samples, places] for shape in given)
    return (held and in_order) or any(shape and shape[0] == places for shape in rows)


def _attention_over_samples(window: Window) -> Verdict | None:
    """Finds scores of every sample for every sample, in a model with an attention that takes time first."""
    call = loss_call(window)
    targets: tuple[int, ...] = call.target.shape if call is not None else ()
    recurrent = {layer.get("name") for layer in layers(window) if layer.get("type") in RECURRENT}
    names = [name for name in time_first(window) if name not in recurrent]
    if not targets or not names or len(targets) > 1 or targets[0] < 2:
        return None
    size = targets[0]
    given = [item.get("shape") or () for item in window.fact("inputs").values() if isinstance(item, Mapping)]
    if not given or any(size in shape[1:] for shape in given):
        return None  # as many places as samples: nobody can tell
    for dimension, *shape in window.fact("graph").get("softmaxes") or ():
        if dimension == len(shape) - 1 and len(shape) >= 3 and list(shape[-2:]) == [size, size]:
            return say(
                Severity.ERROR,
                f"The attention of `{names[0]}` weighs {size} × {size} places, which are the samples of a batch: it "
                "was made without batch_first=True, and every sample looks at the others",
                f"Make `{names[0]}` with batch_first=True, or give it (time, batch, features) by x.transpose(0, 1).",
                layers=(names[0],),
                numbers={"samples": size},
                series=("loss",),
            )
    return None


def _view_across_samples(window: Window) -> Verdict | None:
    """Finds a view that has the samples in another place of the memory than they are."""
    size = samples(window)
    if size < 2:
        return None
    for before, after in window.fact("graph").get("views") or ():
        shapes = ["×".join(map(str, shape)) for shape in (before, after)]
        if _heads(window) and len(before) == len(after) == 3 and before[0] == after[0] and before[2] % after[2] == 0:
            continue  # nn.MultiheadAttention parts its heads so, and there may be as many places as samples
        if _turns(list(map(int, before)), list(map(int, after)), size):
            return say(
                Severity.ERROR,
                f"A view or reshape turns {shapes[0]} into {shapes[1]}: it gives the sizes another order and moves no "
                "value, so each row is made of pieces of several places",
                "To change the order of dimensions use transpose or permute: view and reshape join or part neighbours.",
                strings={"before": shapes[0], "after": shapes[1]},
                series=("loss",),
            )
        if _breaks_up(list(map(int, before)), list(map(int, after)), size):
            return say(
                Severity.ERROR,
                f"A view or reshape turns {shapes[0]} into {shapes[1]}, where the {size} samples of the batch lie "
                "elsewhere in memory: each new row is made of pieces of several samples",
                "A view only relabels the memory. To change the order of dimensions use transpose or permute, and to "
                "flatten put the batch first before: x.permute(…) back, then x.flatten(1).",
                numbers={"samples": size},
                strings={"before": shapes[0], "after": shapes[1]},
                series=("loss",),
            )
    return None


def _heads(window: Window) -> bool:
    """Says whether the model has PyTorch's own attention."""
    return any(str(item.get("type")).startswith(("Multihead", "NonDynamically")) for item in layers(window))


def _turns(before: list[int], after: list[int], size: int) -> bool:
    """Says whether a view gives the same sizes another order behind the batch; a size of 1 may stand anywhere."""
    kept = [[count for count in shape if count > 1] for shape in (before, after)]
    if len(before) == len(after) == 4 and after[1] == before[-1] in (3, 4):
        return False  # colours, which data-batch-sanity tells
    if len(before) == len(after) and before[:-2] == after[:-2] and _shifts(*before[-2:], heads=len(before) > 3):
        return False
    return before[0] == after[0] == size and kept[0] != kept[1] and sorted(kept[0]) == sorted(kept[1])


def _shifts(rows: int, columns: int, *, heads: bool) -> bool:
    """Says whether scores of relative positions may be meant: they are padded, and viewed to shift each row by one."""
    low, high = sorted((rows, columns))
    return heads or high - low <= 1 or high in (2 * low, 2 * low - 1)


def _breaks_up(before: list[int], after: list[int], size: int) -> bool:
    """Says whether a view has a dimension of the batch's size, and no dimension that holds the batch's own.

    The batch covers the places from its stride to its stride times its size. What merges or splits dimensions in order
    leaves one that covers them all.
    """
    if before.count(size) != 1 or size not in after or math.prod(before) != math.prod(after):
        return False
    low = math.prod(before[before.index(size) + 1 :])
    strides = [math.prod(after[at + 1 :]) for at in range(len(after))]
    pairs = zip(after, strides, strict=True)
    return not any(stride <= low and low * size <= stride * count for count, stride in pairs)


def _softmax_over_samples(window: Window) -> list[int] | None:
    """Finds a softmax over the samples inside the model: the shape of what it normalises. Of two dimensions a weight
    for each sample may be meant, unless the second are the places of one sample."""
    call = loss_call(window)
    size = call.batch_size if call is not None else 0
    targets = call.target.shape if call is not None else ()
    given = [item.get("shape") or () for item in window.fact("inputs").values() if isinstance(item, Mapping)]
    for dimension, *shape in window.fact("graph").get("softmaxes") or ():
        if dimension != 0 or size < 2 or shape[0] != size or size in shape[1:]:
            continue
        of_places = len(shape) == 2 and shape[1] > 1 and math.prod(targets) == targets[0] == size if targets else False
        places = of_places and any(len(one) >= 3 and list(one[:2]) == list(shape) for one in given)
        if len(shape) >= 3 or places:
            return list(map(int, shape))
    return None
