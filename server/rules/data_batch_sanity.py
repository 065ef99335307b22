"""GW107: the inputs are far from the scale that networks are made for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._growing_inputs import inputs_grow
from server.rules._inner_inputs import large_inside
from server.rules._layers import layers
from server.rules._loss_call import CROSS_ENTROPIES, loss_call
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

BAD_INIT = "GW471"


class DataBatchSanity(Rule):
    """The run has inputs or labels that no network can use as they are

    ## What it does
    Measures the first 20 batches: the root mean square of all inputs that are not 0 above 10 or below 0.02, one column
    300 times larger than the usual one, all inputs equal or nearly so (a deviation below 2 % of the mean; below a fifth
    of it is a remark), pictures whose last dimension looks like channels, and class ids that are no class of the model;
    and numbers above 30 that reach the first layer from inside the model (a time that is put beside the inputs).
    Nothing is said of scale where the first layer is a normalisation or an embedding that may look the numbers up.
    Examples that are in the training and in the validation set are not looked for: nothing keeps the examples of one
    batch until another.

    ## Why it matters
    With PyTorch's start a first layer answers with about rms/√3: at 10 every tanh and sigmoid is at its end and logits
    are sure of nonsense; at 0.02 the gradient of the weights is 50 times smaller than that of the biases. One large
    column drowns all others.

    ## What you see in the chart
    A first loss that is far too high, or a loss that does not move.

    ## What to try
    - Pictures: divide by 255. Tables: subtract the mean and divide by the standard deviation of the training set.
    - Channels first: `x.permute(0, 3, 1, 2)`.

    ## Example
    ```python
    model(frame.values)                             # wrong: a column of incomes beside one of ages
    model((frame.values - mean) / std)              # right
    ```

    ## References
    - LeCun et al. 1998, *Efficient BackProp*, section 4.3: normalising the inputs.
    - The limits are ours, wide enough for pixels in [0, 1] (0.5), standardised columns (1) and one-hot rows.
    """

    code = "GW107"
    name = "data-batch-sanity"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 4
    chart = "loss"
    tier = "facts"
    clears_after = None
    stage = Stage.DATA
    exact = True

    @dataclass(frozen=True)
    class Params:
        """Which scales no network is made for."""

        large: float = threshold(10.0, unit="root mean square", low=2.0, high=1e6, source="ours: saturates every unit")
        small: float = threshold(0.02, unit="root mean square", low=0.0, high=0.5, source="ours: biases alone learn")
        column: float = threshold(
            300.0, unit="times the usual column", low=10.0, high=1e9, source="ours: it drowns them"
        )
        column_rms: float = threshold(
            3.0, unit="root mean square", low=1.0, high=1e6, source="ours: else it is small too"
        )
        grown: float = threshold(
            4.0, unit="times what turned weights could do", low=1.5, high=1e3, source="ours: for the bias, and noise"
        )
        alike: float = threshold(
            0.02, unit="deviation / mean", low=0.0, high=0.2, source="ours: dark photographs have 0.3 and more"
        )
        off_centre: float = threshold(
            0.2, unit="deviation / mean", low=0.02, high=1.0, source="ours: white paper with little on it has 0.25"
        )
        inner: float = threshold(
            30.0, unit="what reaches the first layer", low=5.0, high=1e6, source="ours: it is read off the output"
        )
        batches: int = threshold(3, unit="batches", low=1, high=20, source="ours: the first ones are typical")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the facts `inputs` and `loss_call`."""
        call = loss_call(window)
        labels = window.fact("loss_call").get("target") or {}
        if call is not None and call.function in CROSS_ENTROPIES and (call.classes or 0) > 1 and labels.get("integer"):
            most, least = labels.get("max"), labels.get("min")
            ignored = call.arguments.get("ignore_index", -100)
            if most is not None and most >= (call.classes or 0) and most != ignored and not _is_float(labels):
                yield say(
                    Severity.ERROR,
                    f"Labels reach {most:g}, but the model has {call.classes} outputs: classes count from 0 to "
                    f"{(call.classes or 0) - 1}",
                    "Count the classes in the data set, and let ids begin at 0 (labels - 1 if they begin at 1).",
                    numbers={"largest_label": most, "outputs": float(call.classes or 0)},
                    limit=float(call.classes or 0),
                )
                return
            if least is not None and least < 0 and least != ignored and not _is_float(labels):
                yield say(
                    Severity.ERROR,
                    f"Labels go down to {least:g}: a negative class id that is not ignore_index ({ignored:g})",
                    "Map the labels to 0 … C−1, or pass the value as ignore_index.",
                    numbers={"smallest_label": least},
                    limit=0.0,
                )
                return
        inputs = {name: item for name, item in window.fact("inputs").items() if isinstance(item, Mapping)}
        ready = {name: item for name, item in inputs.items() if int(item.get("batches") or 0) >= params.batches}
        measured = {name: item for name, item in ready.items() if item.get("rms") is not None}
        if BAD_INIT in window.open_codes:  # what a model makes of its own answers is as large as its weights
            measured = {name: item for name, item in measured.items() if not item.get("computed")}
        if not measured:
            inner = large_inside(window, params.inner, beside=False)
            if inner is not None:
                yield inner
                return
            whole = any(str(item.get("dtype", "")).startswith("int") for item in inputs.values())
            yield NotEvaluated(
                "the inputs are whole numbers (tokens), which have no scale" if whole else "no input was measured yet",
                "" if whole else "call the model itself, model(x), after watch()",
            )
            return
        for name, item in measured.items():
            verdict = _judge(window, name, item, params)
            if verdict is not None:
                yield verdict
                return
        grown = inputs_grow(window, params.grown) if len(measured) == 1 else None
        found = grown or large_inside(window, params.inner, beside=True)
        if found is not None:
            yield found


def _channels_relabelled(window: Window, shape: list[int]) -> list[int] | None:
    """Finds the shape that the inputs had, channels last, before a view gave them channels first."""
    for before, after in window.fact("graph").get("views") or ():
        sizes = list(map(int, before))[1:]
        last = len(sizes) == 3 and sizes[-1] in (3, 4) and sizes[-1] not in sizes[:-1]
        if last and before[0] == after[0] and shape[1:] == [sizes[-1], *sizes[:-1]] == list(map(int, after))[1:]:
            return list(map(int, before))
    return None


def channels_last(shape: list[int]) -> bool:
    """Says whether the channels of pictures seem to come last; what is one place wide and high is no picture."""
    return len(shape) == 4 and shape[-1] in (1, 3, 4) and shape[1] not in (1, 3, 4) and shape[2:] != [1, 1]


def _is_float(labels: Mapping[str, Any]) -> bool:
    return str(labels.get("dtype", "")).startswith(("float", "bfloat"))


def _judge(window: Window, name: str, item: Mapping[str, Any], params: DataBatchSanity.Params) -> Verdict | None:
    shape = [int(size) for size in item.get("shape") or ()]
    rms, absmax = float(item["rms"]), float(item.get("absmax") or 0)
    whose = f" of `{name}`" if len(window.fact("inputs")) > 1 else ""
    numbers = {"rms": rms, "largest": absmax, "std": float(item.get("std") or 0)}
    broken = bool(item.get("nonfinite"))  # what is left of such inputs says nothing of the others (GW605 tells)
    if broken and absmax == 0:
        return None
    if absmax == 0 or (not broken and item.get("std") == 0 and len(shape) > 1 and shape[0] > 1):
        return say(
            Severity.ERROR, f"All inputs{whose} are {item.get('mean') or 0:g} in {item['batches']} batches",
            "Print x.min(), x.max() where a batch is made: a cast to int, a wrong division or an empty buffer.",
            numbers=numbers,
        )  # fmt: skip
    if channels_last(shape) and _first(window).startswith("Conv"):
        return say(
            Severity.WARNING, f"The pictures{whose} come as {'×'.join(map(str, shape))}: the channels seem to be last",
            "Put the channels first: x.permute(0, 3, 1, 2).", numbers=numbers, strings={"shape": str(shape)},
        )  # fmt: skip
    wrong = _channels_relabelled(window, shape)
    if wrong:
        return say(
            Severity.ERROR,
            f"Pictures of {'×'.join(map(str, wrong))} were turned into {'×'.join(map(str, shape))} by a view or "
            "reshape, which moves nothing: every channel is made of all colours of a part of the picture",
            "Move the channels instead: x.permute(0, 3, 1, 2).",
            numbers=numbers,
            strings={"before": str(wrong), "after": str(shape)},
        )
    first = _first(window)
    ids = _most_ids(window) if first.startswith("Embedding") else 0  # then columns below that may be looked up
    if first.startswith(_SCALE_FREE) and (not ids or _normed_beside(window)):
        return None
    columns = [column for column in item.get("features") or () if isinstance(column, Mapping)]
    usual = item.get("median_rms")
    if columns and usual:
        worst = columns[0]
        if worst["rms"] <= ids:
            return None
        if worst["rms"] > params.column * usual and worst["rms"] > params.column_rms:
            return say(
                Severity.WARNING,
                f"Column {worst['index']} of the inputs{whose} has a root mean square of {worst['rms']:.4g}, the usual "
                f"column {usual:.3g}: it drowns the others",
                "Standardise every column: (x - mean) / std, with mean and std of the training set.",
                numbers=numbers | {"column": worst["index"], "column_rms": worst["rms"], "usual_rms": usual},
                limit=params.column * usual,
            )
    mean, std = float(item.get("mean") or 0), float(item.get("std") or 0)
    if not ids and params.small <= rms <= params.large and 0 < std < params.alike * abs(mean):
        return say(
            Severity.WARNING,
            f"The inputs{whose} hardly differ: they deviate by {std:.2g} from their mean of {mean:.3g} (less than "
            f"{params.alike:.0%} of it)",
            "Look for a scale that is applied twice (ToTensor divides by 255 already), or a Normalize with the mean "
            "and std of other data; the training set should have a mean of about 0 and a deviation of about 1.",
            numbers=numbers | {"mean": mean},
            limit=params.alike * abs(mean),
        )
    numbers_beside = bool(columns) and columns[0]["rms"] > max(ids, params.large)  # larger than any id can be
    if (not ids and (rms > params.large or rms < params.small)) or (ids and rms > params.large and numbers_beside):
        pixels = 40 < absmax <= 255
        advice = "Subtract the mean of the training set and divide by its standard deviation, in validation too"
        advice += ", or divide by 255 if these are pixels." if pixels else "."
        if pixels and len(shape) > 3:
            advice = "Divide the pictures by 255, those of the validation too."
        return say(
            Severity.WARNING,
            f"The inputs{whose} have a root mean square of {rms:.4g} (up to {absmax:.4g}); networks start well between "
            f"{params.small:g} and {params.large:g}",
            advice,
            numbers=numbers,
            limit=params.large if rms > params.large else params.small,
        )
    if not ids and 0 < std < params.off_centre * abs(mean):
        return say(
            Severity.INFO,
            f"The inputs{whose} lie around {mean:.3g} and deviate by {std:.2g} from it, less than a fifth: most of "
            "what a first layer adds up is the same for all of them",
            "Subtract the mean of the training set from all inputs.",
            numbers=numbers | {"mean": mean},
            limit=params.off_centre * abs(mean),
        )
    return None


_SCALE_FREE = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm", "Embedding")


_WEIGHING = ("Linear", "Conv", "LSTM", "GRU", "RNN", "Bilinear")


def _most_ids(window: Window) -> int:
    """Gives the size of the largest table that is looked up: no column of ids has numbers above it."""
    sizes = [(layer.get("arguments") or {}).get("num_embeddings") for layer in layers(window)]
    return max((size for size in sizes if isinstance(size, int)), default=0)


def _normed_beside(window: Window) -> bool:
    """Says whether a norm is called before any layer that weighs: it takes the scale out of what is not looked up."""
    ordered = sorted((item for item in layers(window) if item.get("order") is not None), key=lambda item: item["order"])
    for kind in (str(item.get("type", "")) for item in ordered):
        if kind.startswith(_WEIGHING):
            return False
        if kind.startswith(_SCALE_FREE) and not kind.startswith("Embedding"):
            return True
    return False


def _first(window: Window) -> str:
    """Names the type of the layer that is called first."""
    ordered = [layer for layer in layers(window) if layer.get("order") is not None]
    return str(min(ordered, key=lambda layer: layer["order"]).get("type", "")) if ordered else ""
