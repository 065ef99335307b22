"""GW113: validation inputs have another scale than training inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med, start_of
from server.rules._loss_call import counts_of
from server.rules._rates import guesses_gradients
from server.rules._say import say
from server.rules._validation import evaluations
from server.rules.base import Rule, Stage, threshold

FULL, ROUNDING = 0.9, 1e-6  # pictures from 0 to 1 come near 1
BEYOND = 1.3  # what no value between 0 and 1 is
CENTRED = 0.5  # of a standard deviation
FEWEST_COLUMNS = 3
FEWEST_LOOKS = 3  # evaluations
THEN = "they come from another time or place, or are prepared differently"
OTHER_LABELS = 0.3  # total variation of the shares of the classes


class TrainValInputShift(Rule):
    """The run has validation inputs of another scale than its training inputs

    ## What it does
    Compares the root mean square of the inputs in training and in validation, and the mean of the largest columns of
    tables: a factor outside 1/3 to 3, or a shift of three standard deviations, is a warning. So is a side that lies
    between 0 and 1 where the other one is centred and 1.6 times as wide (a Normalize is missing), and a mean of all
    values, or of most columns of a table, that moved by a whole standard deviation and six sampling errors (the
    validation is of another time or place). Inputs that another network computes (a discriminator's, a head's, losses
    that are weighed) are left out: they change with training. So are shifts where a sampler draws some examples more
    often, or where the classes are spread otherwise (label-histogram-wrong): a column may tell classes apart; and the
    milder ones where the first batches are but the beginning of data that is not shuffled, and a moved mean where the
    validation loss stays within a tenth of what training gained.

    ## Why it matters
    Scaling was applied to one of the two. Every validation number is then about something else.

    ## What you see in the chart
    A validation loss that is high from the first evaluation on and does not follow the training loss.

    ## What to try
    - One function that prepares a batch, used for both.
    - Mean and standard deviation from the training set for all sets.
    - Series with a trend: differences, or a level that is taken out; else the future is unlike everything learned.

    ## Example
    ```python
    train_x = scaler.fit_transform(train_x)      # … and val_x as it came: wrong
    val_x = scaler.transform(val_x)              # right
    ```

    ## References
    - scikit-learn, *Common pitfalls*: inconsistent preprocessing.
    - 3 is ours: random splits differ by a few percent.
    """

    code = "GW113"
    name = "train-val-input-shift"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 5
    chart = "loss"
    tier = "facts"
    clears_after = 1
    stage = Stage.DATA
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How far apart."""

        ratio: float = threshold(3.0, unit="times", low=1.2, high=100.0, source="ours: beyond any random split")
        shift: float = threshold(
            3.0, unit="standard deviations", low=1.0, high=100.0, source="ours: of the training column"
        )
        wider: float = threshold(
            1.6, unit="times", low=1.2, high=10.0, source="ours: Normalize divides by 0.2 to 0.35 for pictures"
        )
        moved: float = threshold(
            1.0, unit="standard deviations", low=0.3, high=10.0, source="ours: healthy splits stay below 0.3"
        )
        errors: float = threshold(6.0, unit="sampling errors", low=2.0, high=50.0, source="ours: beyond chance")
        batches: int = threshold(2, unit="training batches", low=1, high=20, source="ours")
        lost: float = threshold(
            0.1, unit="of what training gained", low=0.0, high=1.0, source="ours: a shift that costs less does no harm"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `inputs`."""
        seen = False
        if guesses_gradients(window):
            yield NotEvaluated("no backward was heard, so which forwards are of a validation is not known")
            return
        if len(window.fact("inputs")) > 1 and not window.by_layer(Kind.VALIDATION):
            yield NotEvaluated(NOT_SAID, "monitor.validation(loss)")
            return
        for item in window.fact("inputs").values():
            other = item.get("validation") if isinstance(item, Mapping) else None
            if not isinstance(other, Mapping) or item.get("rms") is None or other.get("rms") is None:
                continue
            if int(item.get("batches") or 0) < params.batches or item.get("computed"):
                continue
            seen = True
            found = _difference(item, other, window, params)
            if found is not None:
                what, limit = found
                yield say(
                    Severity.WARNING,
                    what,
                    "Prepare both with the same function, with mean and standard deviation of the training set.",
                    numbers={"training_rms": float(item["rms"]), "validation_rms": float(other["rms"])},
                    series=("loss", "val/loss"),
                    limit=limit,
                )
                return
        if not seen:
            yield NotEvaluated(
                "no validation input was seen", "call the model itself under torch.no_grad() for the validation loss"
            )


NOT_SAID = "models that feed each other run without gradients in training too, and no validation was reported"
Fact = Mapping[str, Any]


def _difference(item: Fact, other: Fact, window: Window, params: TrainValInputShift.Params) -> tuple[str, float] | None:
    """Says in what the two differ, the plainest difference first, with the limit that it is beyond."""
    train, val = float(item["rms"]), float(other["rms"])
    if not (1 / params.ratio <= val / train <= params.ratio) if train > 0 else val > 0:
        what = f"The validation inputs have a root mean square of {val:.4g}, the training inputs {train:.4g}"
        return f"{what}: they are prepared differently", params.ratio
    data = window.fact("data")
    alike = list(item.get("shape") or [])[1:] == list(other.get("shape") or [])[1:]
    if not alike or data.get("uneven"):
        return None
    column = next((pair for pair in _columns(item, other) if _moved(*pair) > params.shift), None)
    if column is not None:
        what = f"Column {column[0]['index']} has a mean of {column[1]['mean']:.4g} in validation, "
        return f"{what}{column[0]['mean']:.4g} in training: they are prepared differently", params.ratio
    rows = int(item["batches"]) * _rows(item)
    partly = data.get("shuffle") is False and rows < int(data.get("dataset_size") or 0)
    if partly or window.gates.moving_target or _other_labels(window):
        return None  # the first batches stand for no more than themselves; where labels differ, so do their inputs
    found = _unnormalised(item, other, params)
    return found or (None if _serves(window, params) else _elsewhere(item, other, rows, data, params))


def _serves(window: Window, params: TrainValInputShift.Params) -> bool:
    """Says whether what was learned holds for the other inputs too: the validation lost next to nothing of the gain."""
    found = evaluations(window)
    if found is None or len(found) < FEWEST_LOOKS or not window.loss.count:
        return False
    start, now = start_of(window.loss.values), med(found.training[-FEWEST_LOOKS:])
    return med(found.values[-FEWEST_LOOKS:]) - now < params.lost * (start - now)


def _other_labels(window: Window) -> bool:
    """Says whether the classes are spread otherwise in validation: label-histogram-wrong has that to say."""
    fact = window.fact("loss_call")
    validation = fact.get("validation")
    one = counts_of(fact.get("label_counts"))
    other = counts_of(validation.get("label_counts")) if isinstance(validation, Mapping) else {}
    if not one or not other:
        return False
    shares = [
        abs(one.get(label, 0) / sum(one.values()) - other.get(label, 0) / sum(other.values()))
        for label in one.keys() | other.keys()
    ]
    return 0.5 * sum(shares) > OTHER_LABELS


def _unnormalised(item: Fact, other: Fact, params: TrainValInputShift.Params) -> tuple[str, float] | None:
    """Finds a side that lies between 0 and 1 where the other one is centred and wider: its Normalize is missing."""
    for raw, done, name in ((other, item, "validation"), (item, other, "training")):
        numbers = [fact.get(key) for fact in (raw, done) for key in ("mean", "std", "absmax")]
        if any(number is None for number in numbers):
            continue
        mean, spread, largest, centre, wide, most = (float(number or 0.0) for number in numbers)
        fills = FULL <= largest <= 1 + ROUNDING and mean > 0 and spread > 0
        if fills and most > BEYOND and abs(centre) < CENTRED * wide and wide > params.wider * spread:
            what = (
                f"The {name} inputs lie between 0 and 1 (standard deviation {spread:.2g}), the others around "
                f"{round(centre, 2) + 0.0:g} (standard deviation {wide:.2g}): a Normalize is missing on one side"
            )
            return what, params.wider
    return None


def _elsewhere(
    item: Fact, other: Fact, rows: int, data: Fact, params: TrainValInputShift.Params
) -> tuple[str, float] | None:
    """Finds a mean that moved by more than sampling explains: all columns of a table together, or all values."""
    known = int(data.get("dataset_size") or 0) or rows
    error = math.sqrt(1 / max(min(rows, known), 1) + 1 / max(_rows(other), 1))
    limit = max(params.moved, params.errors * error)
    table = len(item.get("shape") or []) == 2
    pairs = _columns(item, other)
    if table and len(pairs) >= FEWEST_COLUMNS:
        moved = [pair for pair in pairs if _moved(*pair) > limit]
        if 2 * len(moved) > len(pairs):
            one, twin = max(moved, key=lambda pair: _moved(*pair))
            what = (
                f"{len(moved)} of {len(pairs)} columns moved between training and validation, column {one['index']} "
                f"from a mean of {one['mean']:.4g} to {twin['mean']:.4g} (standard deviation {one['std']:.2g}): {THEN}"
            )
            return what, limit
    spread = float(item.get("std") or 0.0)
    if table or not spread or other.get("mean") is None or item.get("mean") is None:
        return None
    if abs(float(other["mean"]) - float(item["mean"])) > limit * spread:
        what = (
            f"The validation inputs have a mean of {float(other['mean']):.4g}, the training inputs "
            f"{float(item['mean']):.4g} (standard deviation {spread:.2g}): {THEN}"
        )
        return what, limit
    return None


def _rows(fact: Fact) -> int:
    return int((fact.get("shape") or [1])[0])


def _columns(item: Fact, other: Fact) -> list[tuple[Fact, Fact]]:
    """Pairs the columns that both sides list."""
    twins = {column["index"]: column for column in other.get("features") or ()}
    return [
        (column, twins[column["index"]])
        for column in item.get("features") or ()
        if column["index"] in twins and column["std"] > 0
    ]


def _moved(column: Fact, twin: Fact) -> float:
    return float(abs(twin["mean"] - column["mean"]) / column["std"])
