"""GW804: the evaluations differ by less than their sampling error."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med
from server.rules._say import say
from server.rules._validation import rising_metric
from server.rules.base import Rule, Stage, threshold


class ValNoiseTooLarge(Rule):
    """The run has a best accuracy that its sampling error explains

    ## What it does
    At the end: with n validation examples (from the data loader) an accuracy a has the sampling error √(a(1 − a)/n);
    the best of k evaluations is too high by about √(2 ln k) of it. Where the best value lies no further than that above
    the median of the last half of the evaluations, an info says so, and draws the band of one sampling error around
    that median.

    ## Why it matters
    Choosing the best epoch then chooses luck, and the number that gets reported is too high.

    ## What you see in the chart
    A metric that trembles around one level.

    ## What to try
    - A larger validation set, or the mean of the last evaluations.
    - Report the error bar.

    ## Example
    ```python
    report = f"{accuracy:.3f} ± {(accuracy * (1 - accuracy) / n) ** 0.5:.3f}"
    ```

    ## References
    - Binomial sampling error; the expected maximum of k normal values is about √(2 ln k).
    """

    code = "GW804"
    name = "val-noise-too-large"
    severity = Severity.INFO
    since = "0.2.0"
    needs = (Kind.VALIDATION,)
    chart = "loss"
    clears_after = None
    stage = Stage.SYMPTOM
    aside = True
    levels = {"level": "level", "best": "best", "lowest": "level − error", "highest": "level + error"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How many evaluations."""

        evaluations: int = threshold(6, unit="evaluations", low=3, high=1000, source="ours: two thirds for a level")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the metric at the end of the run."""
        metric = rising_metric(window)
        size = next(
            (
                item.get("dataset_size")
                for item in window.fact("data").get("others") or ()
                if isinstance(item, dict) and not item.get("training") and item.get("dataset_size")
            ),
            None,
        )
        if not window.final or metric is None or not size or len(metric[2]) < params.evaluations:
            yield NotEvaluated(
                f"judged at the end, with {params.evaluations} accuracies and a validation DataLoader",
                "monitor.validation(loss, accuracy=accuracy)",
            )
            return
        name, steps, values = metric
        level, best = med(values[len(values) // 2 :]), float(max(values))
        if not 0 < level < 1 or best > 1:
            return
        error = math.sqrt(level * (1 - level) / float(size))
        luck = error * math.sqrt(2 * math.log(len(values)))
        if 0 < best - level <= luck:
            yield say(
                Severity.INFO,
                f"The best {name} {best:.4g} is within the luck of {len(values)} tries: with {int(size)} examples the "
                f"sampling error is {error:.2g}, and the level is {level:.4g}",
                "Report the level with its error, or choose by a larger validation set.",
                step=int(steps[int(values.argmax())]),
                numbers={
                    "best": best,
                    "level": level,
                    "sampling_error": error,
                    "lowest": level - error,
                    "highest": level + error,
                },
                series=(f"val/{name}",),
                limit=luck,
            )
