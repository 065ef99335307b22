"""GW706: the hook itself takes more of the time than it should."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold


class MonitorOverhead(Rule):
    """The run has a monitor that takes more than 3 % of its time

    ## What it does
    Reads what the hook says about itself at the end: its share of the training time after the first 100 steps, which
    are measured closely on purpose; shorter runs are not judged. Above 3 % is an info, where that came to more than two
    seconds: of a training that is over in a moment the few planned measurements are a large share, and nobody waits for
    them. The hook measures less often by itself where steps are short.

    ## Why it matters
    Watching must not cost more than it saves.

    ## What you see in the chart
    `hook/overhead` above its budget.

    ## What to try
    - `watch(…, budget=0.005)` measures layers less often.
    - Steps below a millisecond: call `monitor.step` for every tenth one.

    ## Example
    ```python
    monitor = watch(model, optimizer, budget=0.005)
    ```

    ## References
    - 3 % and two seconds are ours; the budget is 1 %.
    """

    code = "GW706"
    name = "monitor-overhead"
    severity = Severity.INFO
    since = "0.2.0"
    version = 2
    chart = "series"
    tier = "facts"
    clears_after = None
    stage = Stage.SYMPTOM
    aside = True

    @dataclass(frozen=True)
    class Params:
        """How much is too much."""

        share: float = threshold(0.03, unit="of the time", low=0.001, high=1.0, source="ours: three times the budget")
        seconds: float = threshold(2.0, unit="s after step 100", low=0.0, high=3600.0, source="ours: nobody waits less")
        steps: int = threshold(
            300, unit="steps", low=100, high=1_000_000, source="ours: the first 100 are measured closely on purpose"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `overhead`."""
        overhead = window.fact("overhead")
        share, spent = overhead.get("share"), overhead.get("after_100_s")
        if not isinstance(share, (int, float)):
            yield NotEvaluated("the hook reports its cost at the end of the run")
        elif not len(window.loss.steps) or window.loss.last_step + 1 < params.steps:
            yield NotEvaluated(f"{params.steps} steps are needed: the first hundred are measured closely on purpose")
        elif share > params.share and not (isinstance(spent, (int, float)) and spent <= params.seconds):
            yield say(
                Severity.INFO,
                f"The hook took {percent(share)} of the training time",
                "Pass a smaller budget: watch(…, budget=0.005); on steps below a millisecond call monitor.step() "
                "for every tenth one.",
                numbers={"share": share},
                limit=params.share,
            )
