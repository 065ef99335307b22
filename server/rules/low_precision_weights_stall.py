"""GW606: updates of half-precision weights are rounded away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._layers import is_adaptive, listed, optimizers
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold

RECENT = 20  # samples, as many as a share is the median of


class LowPrecisionWeightsStall(Rule):
    """The run has half-precision weights whose updates are rounded away

    ## What it does
    Compares bfloat16 and float16 weights before and after the step: fewer than 60 % of their elements change under
    Adam and its kin, or fewer than 25 % under SGD, at rates near the highest. A warm-up, the end of a schedule, and a
    run that has nothing left to learn make small steps on purpose: what the first steps at the full rate changed counts
    where that was more.

    ## Why it matters
    A bfloat16 number has 8 bits: a change below 0.2 to 0.4 % of a weight is lost, and a healthy step is 0.1 %. Adam's
    steps are of one size for all elements, so what is lost is as good as what is kept; those of SGD are as large as the
    gradient, and the smallest are lost first: of normal ones three quarters by number are a third by size.

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
    - 60 % and 25 % are ours: digits in bfloat16 beside float32, whose losses part by a third and more below them.
    - Arithmetic: half a unit in the last place is 2⁻⁹ to 2⁻⁸ in bfloat16, 2⁻¹² to 2⁻¹¹ in float16.
    """

    code = "GW606"
    name = "low-precision-weights-stall"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 3
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
        changed_by_gradients: float = threshold(
            0.25, unit="of the elements", low=0.01, high=1.0, source="ours: SGD at 40 % ends near a float32 run"
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
        if _rises(window):
            yield NotEvaluated("the learning rate still rises, so steps are smaller than they will be")
            return
        items = {name: item for name, item in (fact.get("parameters") or {}).items() if isinstance(item, Mapping)}
        shares = {
            name: max(float(item.get("changed") or 0), float(item.get("early") or 0)) for name, item in items.items()
        }
        kinds = [str(item.get("type")) for item in optimizers(window)]
        by_gradient = bool(kinds) and not any(map(is_adaptive, kinds))
        limit = params.changed_by_gradients if by_gradient else params.changed
        stuck = {name: share for name, share in shares.items() if share < limit}
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
                limit=limit,
            )


def _rises(window: Window) -> bool:
    """Says whether a learning rate is higher than ever, and than it was some samples ago: a warm-up. One value alone
    cannot tell."""
    rates = [series.tail(RECENT) for series in window.by_layer(Kind.LEARNING_RATE).values()]
    return any(len(values) < 2 or (values[-1] >= values.max() and values[-1] > 1.01 * values[0]) for values in rates)
