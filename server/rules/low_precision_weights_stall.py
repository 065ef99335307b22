"""GW606: updates of half-precision weights are rounded away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._layers import listed
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold


class LowPrecisionWeightsStall(Rule):
    """The run has half-precision weights whose updates are rounded away

    ## What it does
    Compares bfloat16 and float16 weights before and after the step: fewer than 60 % of their elements change although
    the learning rate is above 0.

    ## Why it matters
    A bfloat16 number has 8 bits: a change below 0.2 to 0.4 % of a weight is lost, and a healthy step is 0.1 %.

    ## What you see in the chart
    A loss that falls at first and then stands, where a float32 run goes on.

    ## What to try
    - Weights in float32, computations in bfloat16: `with torch.autocast("cuda", dtype=torch.bfloat16)`.
    - Stochastic rounding or Kahan summation in the optimizer.

    ## Example
    ```python
    model.to(torch.bfloat16)                               # wrong: the weights themselves
    with torch.autocast("cuda", dtype=torch.bfloat16):     # right: the computation
        loss = model(x)
    ```

    ## References
    - Zamirai et al. 2020, *Revisiting BFloat16 Training*.
    - Arithmetic: half a unit in the last place is 2⁻⁹ to 2⁻⁸ in bfloat16, 2⁻¹² to 2⁻¹¹ in float16.
    """

    code = "GW606"
    name = "low-precision-weights-stall"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 2
    chart = "updates"
    tier = "facts"
    clears_after = 2
    stage = Stage.OPTIMISER

    @dataclass(frozen=True)
    class Params:
        """How few changes are too few."""

        changed: float = threshold(
            0.6, unit="of the elements", low=0.01, high=1.0, source="ours: with less, digits end at twice the loss"
        )
        samples: int = threshold(10, unit="samples", low=1, high=1000, source="ours")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `rounding`."""
        fact = window.fact("rounding")
        if int(fact.get("samples") or 0) < params.samples:
            yield NotEvaluated("no half-precision weights were seen (float32 weights need no look)")
            return
        if not any(series.last > 0 for series in window.by_layer(Kind.LEARNING_RATE).values()):
            return
        items = {name: item for name, item in (fact.get("parameters") or {}).items() if isinstance(item, Mapping)}
        stuck = {name: float(item.get("changed") or 0) for name, item in items.items()}
        stuck = {name: share for name, share in stuck.items() if share < params.changed}
        if stuck and len(stuck) >= 0.5 * len(items):
            worst = min(stuck, key=lambda name: stuck[name])
            yield say(
                Severity.WARNING,
                f"A step changes only {percent(stuck[worst])} of the elements of `{worst}` "
                f"({items[worst].get('dtype')}): "
                f"the rest is rounded away, in {len(stuck)} of {len(items)} half-precision matrices: "
                f"{listed(list(stuck))}",
                "Keep the weights in float32 and compute under torch.autocast, or use an optimizer with "
                "stochastic rounding.",
                layers=[name.rpartition(".")[0] for name in stuck],
                numbers={"changed": stuck[worst], "matrices": len(stuck)},
                series=[f"update_ratio/{name}" for name in list(stuck)[:8]],
                limit=params.changed,
            )
