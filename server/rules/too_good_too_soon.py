"""GW803: the validation metric is perfect almost at once, or the answer is among the inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._layers import layers
from server.rules._loss_call import entropy, loss_call
from server.rules._progress import loss_quarters
from server.rules._say import percent, say
from server.rules._validation import rising_metric
from server.rules.base import Rule, Stage, threshold

LATE = 0.75  # of a window
# layers that read ids one after the other
IN_ORDER = (
    "RNN",
    "LSTM",
    "GRU",
    "Conv",
    "Multihead",
    "Transformer",
    "LayerNorm",
    "RMSNorm",
    "NonDynamicallyQuantizable",
)


class TooGoodTooSoon(Rule):
    """The run has a perfect validation metric almost at once

    ## What it does
    Looks for a metric between 0 and 1 (accuracy, F1, AUC …) that is 0.995 or more within the first 5 % of the planned
    steps. An info: easy tasks exist. Where the inputs are a table it also compares each column with the target, in the
    first steps: a column that has one value for each class, or that a line leads from to the target with nothing left
    over, is the answer itself, and a warning. So is one that orders the targets without one exception (two classes with
    a gap between them) where no other column comes near: a day of leaving that is 0 for those who stay. So is one that
    nearly is the target, alone or with a second one (two parts that sum up to it), and so are categories that tell two
    classes apart in nine of ten cases, once the loss shows that they are used; both where the others tell little.
    Several targets may be columns of the inputs as well: a window that reaches into what is to be forecast. Tables of
    one column and rows that repeat do not count, nor do inputs that are given back as a whole. A table of ids counts
    where no layer of the model reads them in their order; then only categories that tell two classes apart are told.

    ## Why it matters
    Answers among the inputs, or the same examples in both sets, look like success.

    ## What you see in the chart
    A metric that starts at its ceiling, or reaches one that nobody expected.

    ## What to try
    - Look at the column that is named: is it known when the model is asked in earnest?
    - Train on shuffled labels: if the validation is still perfect, the answer is among the inputs.
    - Look for duplicates between the sets (also of the same patient, speaker, document).

    ## Example
    ```python
    frame.drop(columns=["target"])      # right: the target is not a feature
    ```

    ## References
    - Kapoor & Narayanan 2023, *Leakage and the Reproducibility Crisis in Machine-Learning-Based Science*.
    - The answer among the features is the first kind of leakage there (L1.3 and L2); the test of the columns is exact.
    - 0.995 and 5 % are ours. A limit on the metric alone (0.95, UMLAUT) fires on good models.
    """

    code = "GW803"
    name = "too-good-too-soon"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 3
    chart = "loss"
    clears_after = None
    gates = ("finetune", "resumed")
    stage = Stage.SYMPTOM
    levels = {"the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How good, how soon."""

        metric: float = threshold(0.995, unit="of 1", low=0.9, high=1.0, source="ours: above most good models")
        share: float = threshold(0.05, unit="of the planned steps", low=0.001, high=0.5, source="ours")
        unexplained: float = threshold(
            1e-8,
            unit="of a column's variance",
            low=0.0,
            high=1e-6,
            source="ours: rounding to single precision leaves 1e-14; a value one moment before the target leaves more",
        )
        nearly: float = threshold(
            0.002, unit="of the target's variance", low=0.0, high=0.1, source="ours: noise of a real forecast is more"
        )
        mistaken: float = threshold(
            0.1, unit="of the rarer class", low=0.0, high=0.3, source="ours: categories that are wrong so seldom"
        )
        little: float = threshold(
            0.25, unit="of what is to be explained", low=0.1, high=1.0, source="ours: what the other columns leave"
        )
        used: float = threshold(
            0.5, unit="of the labels' entropy", low=0.1, high=1.0, source="ours: a loss below it knows the answers"
        )
        rows: int = threshold(100, unit="different rows", low=20, high=1000, source="ours: few rows agree by chance")
        telling: int = threshold(
            10, unit="rows of the rarest class", low=2, high=500, source="ours: a rare column may fit one or two rows"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Looks at the columns of the inputs, then at the early values of the metric."""
        leak = _leak(window, params)
        if leak is not None:
            yield leak
            return
        metric = rising_metric(window)
        total = window.samples if window.final else window.planned
        if metric is None or not total:
            yield NotEvaluated("a metric such as accuracy and the planned steps are needed", "watch(…, total_steps=N)")
            return
        name, steps, values = metric
        early = (steps < params.share * total) & (values >= params.metric) & (values <= 1)
        if early.any():
            at = int(np.flatnonzero(early)[0])
            yield say(
                Severity.INFO,
                f"{name} is {values[at]:.4g} at step {steps[at]}, after {percent((steps[at] + 1) / total)} of the run",
                "If the task is not that easy, look for the target among the inputs and for duplicates between "
                "the sets; "
                "acknowledge this once if it is.",
                step=int(steps[at]),
                numbers={"metric": float(values[at])},
                series=(f"val/{name}",),
                limit=params.metric,
            )


def _leak(window: Window, params: TooGoodTooSoon.Params) -> Verdict | None:
    """Finds a column of the inputs that is the target; the places of a sequence of ids are no columns."""
    seen = window.fact("leaks")
    if seen.get("ids") and any(str(layer.get("type")).startswith(IN_ORDER) for layer in layers(window)):
        return None
    enough = int(seen.get("distinct") or 0) >= params.rows and int(seen.get("telling") or 0) >= params.telling
    if not enough or int(seen.get("varying") or 0) < 2:
        return None
    if seen.get("ids"):
        return _nearly(seen, window, params)
    found = [item for item in seen.get("answers") or () if isinstance(item, Mapping)]
    columns = [int(item["index"]) for item in found if _share(item) <= params.unexplained]
    if seen.get("window"):
        columns = [at for at in columns if _at_the_end(at, seen["window"])]
    if not columns:
        return _among(seen) or _ordering(seen, params) or _nearly(seen, window, params)
    classes = seen.get("classes")
    what = "has one value for each class" if classes else "is a linear function of the target"
    many = f" (so are {len(columns) - 1} more)" if len(columns) > 1 else ""
    return say(
        Severity.WARNING,
        f"Column {columns[0]} of the {seen.get('columns')} inputs {what} in all {seen.get('rows')} rows that were "
        f"looked at{many}: the answer is among the inputs",
        f"Leave column {columns[0]} (counted from 0) out, unless it is known when the model is asked in earnest: then "
        "no model is needed.",
        numbers={"column": columns[0], "rows": int(seen.get("rows") or 0), "unexplained": _share(found[0])},
        strings={"columns": ", ".join(map(str, columns))},
        limit=params.unexplained,
        stage=Stage.DATA,
        exact=True,
    )


def _at_the_end(column: int, window: list[int]) -> bool:
    """Says whether a place of a window is one of its newest: what is to be remembered stands further back."""
    first, second = window
    return column // second >= LATE * first or (second > first and column % second >= LATE * second)


def _among(seen: Mapping[str, Any]) -> Verdict | None:
    """Finds targets, of several, that are columns of the inputs."""
    same = [item for item in seen.get("same") or () if isinstance(item, Mapping)]
    many, among = int(seen.get("targets") or 0), int(seen.get("targets_among") or 0)
    if not same or (seen.get("window") and among < many):
        return None
    column, target = int(same[0]["index"]), int(same[0]["target"])
    return say(
        Severity.WARNING,
        f"{among} of {many} targets are columns of the inputs in all {seen.get('rows')} rows that were looked at: "
        f"target {target} is column {column} of {seen.get('columns')}",
        "Look where the window ends and where its targets begin: the first target is what follows the last input.",
        numbers={"column": column, "target": target, "targets_among": among, "rows": int(seen.get("rows") or 0)},
        strings={"columns": ", ".join(str(item["index"]) for item in same)},
        limit=0.0,
        stage=Stage.DATA,
        exact=True,
    )


def _nearly(seen: Mapping[str, Any], window: Window, params: TooGoodTooSoon.Params) -> Verdict | None:
    """Finds columns that leave next to nothing of the target where the others leave much."""
    near = seen.get("nearly")
    if not isinstance(near, Mapping) or _share(near, "others") < params.little:
        return None
    columns, left = [int(at) for at in near.get("columns") or ()], _share(near)
    if seen.get("window") and not all(_at_the_end(at, seen["window"]) for at in columns):
        return None
    categories = bool(near.get("categories"))
    if left > (params.mistaken if categories else params.nearly) or (categories and not _used(window, params)):
        return None
    names = " and ".join(map(str, columns))
    what = "tells the two classes apart" if categories else "nearly is the target" if len(columns) == 1 else ""
    what = what or "together nearly are the target"
    return say(
        Severity.WARNING,
        f"Column{'s' * (len(columns) > 1)} {names} of the {seen.get('columns')} inputs {what}: {percent(left)} are "
        f"left unexplained in {seen.get('rows')} rows, where all the others leave {percent(_share(near, 'others'))}",
        f"Ask where column {names} (counted from 0, over all inputs) comes from: is it known before the answer is? If "
        "not, leave it out.",
        numbers={"rows": int(seen.get("rows") or 0), "unexplained": left, "others": _share(near, "others")},
        strings={"columns": ", ".join(map(str, columns))},
        limit=params.mistaken if categories else params.nearly,
        stage=Stage.DATA,
    )


def _used(window: Window, params: TooGoodTooSoon.Params) -> bool:
    """Says whether the loss is too low for a model that does not look at the answer."""
    call, parts = loss_call(window), loss_quarters(window)
    if call is None or parts is None or not call.labels or not window.final:
        return False
    return parts.q4 < params.used * entropy(call.labels)


def _ordering(seen: Mapping[str, Any], params: TooGoodTooSoon.Params) -> Verdict | None:
    """Finds a column that is no line, and tells the targets all the same."""
    window = seen.get("window")
    columns = [int(at) for at in seen.get("ordered") or () if isinstance(at, int)]
    columns = [at for at in columns if not window or _at_the_end(at, window)]
    if not columns:
        return None
    many = f" (so do {len(columns) - 1} more)" if len(columns) > 1 else ""
    return say(
        Severity.WARNING,
        f"Column {columns[0]} of the {seen.get('columns')} inputs puts the targets in their order without an exception "
        f"in all {seen.get('rows')} rows that were looked at{many}, and no other column comes near: the answer is "
        "among the inputs",
        f"Ask where column {columns[0]} (counted from 0) comes from: is it known before the answer is? If not, leave "
        "it out.",
        numbers={"column": columns[0], "rows": int(seen.get("rows") or 0)},
        strings={"columns": ", ".join(map(str, columns))},
        limit=params.unexplained,
        stage=Stage.DATA,
        exact=True,
    )


def _share(item: Mapping[str, Any], what: str = "unexplained") -> float:
    value = item.get(what)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else math.inf
