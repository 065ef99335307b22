"""GW905: DistributedDataParallel looks for unused parameters where there are none, or not where there are some."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._layers import listed
from server.rules._ranks import reduced
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold


class UnusedParamsDdp(Rule):
    """The run has a search for unused parameters that finds none

    ## What it does
    DistributedDataParallel was made with `find_unused_parameters=True`, and after 200 steps every parameter has had a
    gradient in each of those that were looked at. Where fewer than 200 were looked at it is a remark. The other way
    round, without the argument: the training failed after its first step, in which parameters had no gradient.

    ## Why it matters
    Each backward then walks the whole graph once more, and gradients are sent later than they could be: 5 to 10 % of a
    step, for nothing. Without it, DistributedDataParallel waits for a gradient of each parameter, and raises in the
    next forward where one did not come.

    ## What you see in the chart
    Nothing; the time of a step is a little longer than it need be.

    ## What to try
    Leave the argument out. Where parameters are unused in every step, do not give them to the model. If another phase
    of the training does skip parts of the model, keep it.

    ## Example
    ```python
    DistributedDataParallel(model, find_unused_parameters=True)    # walks the graph in each step
    DistributedDataParallel(model)
    ```

    ## References
    - PyTorch documentation, *DistributedDataParallel*: "extra overhead"; it warns of it once in the log.
    - 200 steps: ours, so that parts that take turns have had theirs.
    """

    code = "GW905"
    name = "unused-params-ddp"
    severity = Severity.WARNING
    since = "0.3.0"
    chart = "step-time"
    tier = "facts"
    clears_after = 2
    stage = Stage.STATISTICS
    aside = True
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How long nothing must be unused."""

        steps: int = threshold(200, unit="optimizer steps", low=3, high=100_000, source="ours: parts may take turns")
        looked_at: int = threshold(
            10,
            unit="steps whose gradients were looked at",
            low=1,
            high=1000,
            source="ours: fewer than all are a remark",
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Reads the facts `gradient_meaning` and `gradients`."""
        meaning = window.fact("gradient_meaning")
        looking = [item for item in meaning.values() if isinstance(item, Mapping) and item.get("finds_unused")]
        if not reduced(meaning):
            yield NotEvaluated("the model is not in a DistributedDataParallel", "")
            return
        seen = window.fact("gradients")
        steps = int(seen.get("steps") or 0)
        if not looking:
            if window.final and window.state in ("failed", "crashed") and steps == 1 and seen.get("none"):
                yield _raised([str(name) for name in seen["none"]])
            return
        if steps < params.looked_at or window.samples < params.steps:
            yield NotEvaluated(
                f"{params.steps} steps are needed, and {params.looked_at} looks at all gradients; {window.samples} and "
                f"{steps} are in"
            )
            return
        if not seen.get("none"):
            sure = steps >= params.steps
            yield say(
                Severity.WARNING if sure else Severity.INFO,
                f"DistributedDataParallel looks for unused parameters in each step, and in the {steps} steps whose "
                "gradients were looked at there were none",
                "Leave find_unused_parameters=True out.",
                numbers={"steps": steps},
                series=("time/step",),
                limit=float(params.steps),
            )


def _raised(names: list[str]) -> Verdict:
    return say(
        Severity.WARNING,
        f"{len(names)} parameters got no gradient in the first step, and DistributedDataParallel waits for one of "
        f"each: {listed(names)}. It raises in the next forward",
        "Let the loss depend on them, or leave them out of the model; DistributedDataParallel(model, "
        "find_unused_parameters=True) only where other steps do use them.",
        layers=[name.rpartition(".")[0] for name in names],
        numbers={"parameters": len(names)},
        limit=0.0,
    )
