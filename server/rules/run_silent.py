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
    thread. It is taken back as soon as something arrives.

    ## Why it matters
    A hang costs the machine and shows no error: ranks that wait for each other, a data worker that died, a disk that
    does not answer, a machine that was taken away.

    ## What you see in the chart
    Curves that end in mid-air.

    ## What to try
    - `py-spy dump --pid …` shows where the process stands.
    - Distributed: look for the rank that is behind; `TORCH_NCCL_DESYNC_DEBUG=1`.
    - Evaluation and checkpoints of many minutes keep the hook's thread alive, so they are not silent.

    ## Example
    ```python
    DataLoader(data, num_workers=8, timeout=120)      # says so where a worker hangs
    ```

    ## References
    - SageMaker Debugger, StalledTraining (1,800 s).
    - The minute is the server's.
    """

    code = "GW503"
    name = "run-silent"
    severity = Severity.ERROR
    since = "0.2.0"
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
        if window.state == "silent":
            usual = med(window.series(Kind.TIME_STEP.value).tail(200))
            yield say(
                Severity.ERROR,
                (
                    f"Nothing was heard of the run since step {window.step:,}"
                    if window.step >= 0
                    else "Nothing was heard of the run since its start: no step was closed"
                )
                + (f"; a step used to take {usual:.3g} s" if usual == usual else ""),
                "Look at the process: py-spy dump --pid … shows where it stands (a data worker, a collective, a "
                "disk). If "
                "it is gone, look for the reason in its own log.",
                step=max(window.step, 0),
                numbers={"last_step": window.step},
            )
