"""GW705: the device idles while the training runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold

UTILISATION = "/utilisation"
WAITS = 0.2  # of a step: then the data are to blame (GW701)


class GpuIdle(Rule):
    """The run has a device that does little

    ## What it does
    Looks at the utilisation of each GPU over ten minutes (60 samples): a median below 30 % is told.

    ## Why it matters
    A GPU that waits costs as much as one that computes.

    ## What you see in the chart
    A low line, or one that jumps between 0 and 100 %.

    ## What to try
    - Where the loop waits for data: workers, `pin_memory`, caching.
    - Where it does not: a larger batch, `torch.compile`, fewer `.item()` and `print` in the loop.

    ## Example
    ```python
    for x, y in loader:                       # 4 ms of kernels, 20 ms of Python around them
        ...
    model = torch.compile(model)              # fewer launches
    ```

    ## References
    - SageMaker Debugger, *LowGPUUtilization*; 30 % over ten minutes is ours.
    """

    code = "GW705"
    name = "gpu-idle"
    severity = Severity.INFO
    since = "0.3.0"
    needs = (Kind.SYSTEM,)
    chart = "series"
    every = 50
    stage = Stage.STATISTICS
    aside = True
    levels = {"the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How little, for how long."""

        utilisation: float = threshold(
            0.3, unit="median utilisation", low=0.01, high=0.95, relax="up", source="as SageMaker's LowGPUUtilization"
        )
        samples: int = threshold(60, unit="samples", low=6, high=10_000, source="ours: ten minutes, one in ten seconds")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges each device over its newest samples."""
        machine = window.by_layer(Kind.SYSTEM)
        devices = {name: series for name, series in machine.items() if name.endswith(UTILISATION)}
        ready = {name: series for name, series in devices.items() if series.count >= params.samples}
        if not ready:
            most = max((series.count for series in devices.values()), default=0)
            yield NotEvaluated(
                f"{params.samples} samples of a GPU's utilisation are needed, {most} are in"
                if devices
                else "no GPU's utilisation was measured",
                "" if devices else 'pip install "gradwatch[system]" nvidia-ml-py',
            )
            return
        levels = {name: med(series.tail(params.samples)) for name, series in ready.items()}
        idle = {name: level for name, level in levels.items() if level < params.utilisation}
        if not idle:
            return
        name = min(idle, key=lambda item: idle[item])
        wait, step = med(window.series("time/data").tail(200)), med(window.series("time/step").tail(200))
        starved = step > 0 and wait / step > WAITS
        why = f"; the loop waits {percent(wait / step)} of each step for its data" if starved else ""
        yield say(
            Severity.INFO,
            f"`{name.removesuffix(UTILISATION)}` does little: in the median of the last {params.samples} samples it "
            f"was busy {percent(idle[name])} of the time (limit {percent(params.utilisation)}){why}",
            "Load ahead: DataLoader(…, num_workers=4, pin_memory=True, persistent_workers=True)."
            if starved
            else "Try a larger batch or torch.compile, and take .item() and print out of the loop.",
            step=int(ready[name].steps[-params.samples]),
            numbers={"utilisation": idle[name], "devices": len(idle)},
            series=[f"{Kind.SYSTEM.value}{item}" for item in list(idle)[:8]],
            limit=params.utilisation,
            at_once=False,
        )
