"""GW113: validation inputs have another scale than training inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold


class TrainValInputShift(Rule):
    """The run has validation inputs of another scale than its training inputs

    ## What it does
    Compares the root mean square of the inputs in training and in validation, and the mean of the largest columns of
    tables: a factor outside 1/3 to 3, or a shift of three standard deviations, is a warning. Inputs that another
    network computes (a discriminator's, a head's, losses that are weighed) are left out: they change with training. So
    are single columns where a sampler draws some examples more often: a column may tell classes apart.

    ## Why it matters
    Scaling was applied to one of the two. Every validation number is then about something else.

    ## What you see in the chart
    A validation loss that is high from the first evaluation on and does not follow the training loss.

    ## What to try
    - One function that prepares a batch, used for both.
    - Mean and standard deviation from the training set for all sets.

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
    chart = "loss"
    tier = "facts"
    clears_after = None
    stage = Stage.DATA
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How far apart."""

        ratio: float = threshold(3.0, unit="times", low=1.2, high=100.0, source="ours: beyond any random split")
        shift: float = threshold(
            3.0, unit="standard deviations", low=1.0, high=100.0, source="ours: of the training column"
        )
        batches: int = threshold(2, unit="training batches", low=1, high=20, source="ours")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `inputs`."""
        seen = False
        for item in window.fact("inputs").values():
            other = item.get("validation") if isinstance(item, Mapping) else None
            if not isinstance(other, Mapping) or item.get("rms") is None or other.get("rms") is None:
                continue
            if int(item.get("batches") or 0) < params.batches or item.get("computed"):
                continue
            seen = True
            train, val = float(item["rms"]), float(other["rms"])
            shapes = list(item.get("shape") or [])[1:], list(other.get("shape") or [])[1:]
            far = not (1 / params.ratio <= val / train <= params.ratio) if train > 0 else val > 0
            alike = shapes[0] == shapes[1] and not window.fact("data").get("uneven")
            column = _shifted(item, other, params.shift) if alike and not far else None
            if far or column is not None:
                what = (
                    f"The validation inputs have a root mean square of {val:.4g}, the training inputs {train:.4g}"
                    if far
                    else f"Column {column[0]} has a mean of {column[2]:.4g} in validation, {column[1]:.4g} in training"
                    if column
                    else ""
                )
                yield say(
                    Severity.WARNING,
                    f"{what}: they are prepared differently",
                    "Prepare both with the same function, with mean and standard deviation of the training set.",
                    numbers={"training_rms": train, "validation_rms": val},
                    series=("loss", "val/loss"),
                    limit=params.ratio,
                )
                return
        if not seen:
            yield NotEvaluated(
                "no validation input was seen", "call the model itself under torch.no_grad() for the validation loss"
            )


def _shifted(item: Mapping, other: Mapping, limit: float) -> tuple[int, float, float] | None:  # type: ignore[type-arg]
    known = {column["index"]: column for column in other.get("features") or ()}
    for column in item.get("features") or ():
        twin = known.get(column["index"])
        if twin and column["std"] > 0 and abs(twin["mean"] - column["mean"]) > limit * column["std"]:
            return int(column["index"]), float(column["mean"]), float(twin["mean"])
    return None
