"""GW503: the training has stopped talking without saying goodbye."""

from __future__ import annotations

from collections.abc import Iterator

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med
from server.rules._say import say
from server.rules.base import Rule, Stage


class RunSilent(Rule):
    """The run has gone silent

    ## What it does
    Fires when the server has heard nothing of a running training for a minute: no values, no sign of life of the hook's
    thread. And when that thread speaks but the loop does not: no step, validation, logged value or batch since ten
    times the step time that one in a hundred exceeds, two minutes at least, half an hour while the model evaluates or
    is saved and before the first step. It is taken back as soon as the loop goes on.

    ## Why it matters
    A hang costs the machine and shows no error: ranks that wait for each other, a data worker that died, a disk that
    does not answer, a machine that was taken away.

    ## What you see in the chart
    Curves that end in mid-air.

    ## What to try
    - `py-spy dump --pid …` shows where the process stands.
    - Distributed: look for the rank that is behind; `TORCH_NCCL_DESYNC_DEBUG=1`.
    - An evaluation without `model.eval()` whose batches come from no DataLoader looks like a hang: call `monitor.log`
      or `monitor.validation` in it.

    ## Example
    ```python
    DataLoader(data, num_workers=8, timeout=120)      # says so where a worker hangs
    ```

    ## References
    - SageMaker Debugger, StalledTraining (1,800 s).
    - The minute, the two minutes and the factor are ours: they follow the training's own pace.
    """

    code = "GW503"
    name = "run-silent"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 2
    chart = "loss"
    clears_after = None
    stage = Stage.SYMPTOM
    aside = True

    def check(self, window: Window, params: Rule.Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges how the run stands."""
        del params  # it has no thresholds
        if not window.final:
            yield NotEvaluated("the run is talking")
            return
        if window.state in ("silent", "stuck"):
            usual = med(window.series(Kind.TIME_STEP.value).tail(200))
            yield say(
                Severity.ERROR,
                _what(window) + (f"; a step used to take {usual:.3g} s" if usual == usual else ""),
                "Look at the process: py-spy dump --pid … shows where it stands (a data worker, a collective, a "
                "disk). If "
                "it is gone, look for the reason in its own log.",
                step=max(window.step, 0),
                numbers={"last_step": window.step},
            )


def _what(window: Window) -> str:
    since = f"since step {window.step:,}" if window.step >= 0 else "since its start: no step was closed"
    if window.state == "silent":
        return f"Nothing was heard of the run {since}"
    return f"The process of the run lives, but its loop stands still {since}"
