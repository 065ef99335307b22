"""Looks for a network whose first steps rewrote its weights and left it without a gradient: its units died of them.

Not for: units that were dead from the start (dead-relu) or losses that answer a step (lr-too-high).
"""

from __future__ import annotations

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Floats, Series, Steps
from server.rules._layers import learning_matrices
from server.rules._rate_limits import START, RateLimits, divisor

SILENT = 5  # newest samples in which a matrix got a gradient of exactly 0
MOSTLY = 0.5  # of the matrices
REWRITTEN = 2  # samples whose step rewrote the weights while they still got a gradient
KEPT = 0.5  # of the weights at the start: what decay had not yet taken


def killed(window: Window, steps: Steps, ratios: Floats, limits: RateLimits, *, soon: bool = False) -> Verdict | None:
    """Finds steps that rewrote the weights, after which most matrices get a gradient of exactly 0, who had one. `soon`:
    within the samples of these steps, since a game that is won has no gradient either."""
    chain, silent = _chain(window)
    if len(silent) <= MOSTLY * len(chain) or len(silent) < 2:
        return None
    alive = min(_last_gradient(series) for series in silent.values())
    if soon and max(_last_gradient(series) for series in silent.values()) >= steps[-1]:
        return None
    rewrite, limit = limits.rewrite, limits.rewrite
    high = (ratios >= rewrite) & (steps <= alive)
    count = int(np.count_nonzero(high))
    if count >= REWRITTEN:
        first, top = int(steps[high][0]), float(ratios[high].max())
        said = (
            f"{count} measured steps from step {first} on changed the weights by {rewrite:.0%} or more (median over "
            f"the layers, {top:.0%} at most)"
        )
    else:
        before = steps <= alive
        first, count, top = int(steps[0]), int(np.count_nonzero(before)), float(ratios[before].max(initial=0.0))
        moved = float(ratios[before].sum())
        if moved < limits.moved or count >= START or not died_at_full_size(window):
            return None
        limit = limits.moved
        said = (
            f"The first {count} measured steps moved the weights by {moved:.0%} of their size in all (median over the "
            f"layers, {top:.0%} at most)"
        )
    return Verdict(
        severity=Severity.ERROR,
        first_step=first,
        message=(
            f"{said}, and {len(silent)} of {len(chain)} weight matrices got a gradient of exactly 0 since, the first "
            f"after step {alive}: the units behind them died of it"
        ),
        advice=(
            f"Divide `lr` by {divisor(top)} where the optimizer is made, and warm up over the first 1 to 5 % of the "
            "steps (torch.optim.lr_scheduler.LinearLR)."
        ),
        evidence=Evidence(
            numbers={"update_ratio": top, "steps": count, "silent": len(silent), "matrices": len(chain)},
            series=("loss",),
            limit=limit,
        ),
        at_once=True,
    )


def died_at_full_size(window: Window) -> bool:
    """Says whether most matrices get a gradient of exactly 0 that had one, and were no smaller than half of their start
    when the last came: whatever takes them now, it was not for want of size that they died."""
    chain, silent = _chain(window)
    whole = []
    for name, series in silent.items():
        size = window.series(f"weight_norm/{name}")
        at = int(np.searchsorted(size.steps, _last_gradient(series), side="right")) - 1
        whole.append(at >= 0 and size.values[at] > KEPT * size.values[0])
    return len(silent) > MOSTLY * len(chain) and sum(whole) > MOSTLY * len(silent)


def _chain(window: Window) -> tuple[dict[str, Series], dict[str, Series]]:
    """Gives the gradient norms of the matrices that had a gradient at first, and of those who have none any more."""
    norms = window.by_layer(Kind.PARAM_GRAD_NORM)
    chain = {item.name: norms[item.name] for item in learning_matrices(window) if item.name in norms}
    chain = {name: series for name, series in chain.items() if series.count > SILENT and series.values[0] > 0}
    return chain, {name: series for name, series in chain.items() if not series.tail(SILENT).any()}


def _last_gradient(series: Series) -> int:
    return int(series.steps[np.flatnonzero(series.values > 0)[-1]])
