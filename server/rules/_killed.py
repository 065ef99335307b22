"""Looks for a network whose first steps rewrote its weights and left it without a gradient: its units died of them.

Not for: units that were dead from the start (dead-relu) or losses that answer a step (lr-too-high).
"""

from __future__ import annotations

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Floats, Steps
from server.rules._layers import learning_matrices

SILENT = 5  # newest samples in which a matrix got a gradient of exactly 0
MOSTLY = 0.5  # of the matrices
REWRITTEN = 2  # samples whose step rewrote the weights while they still got a gradient


def killed(window: Window, steps: Steps, ratios: Floats, rewrite: float) -> Verdict | None:
    """Finds steps that rewrote the weights, after which most matrices get a gradient of exactly 0, who had one."""
    norms = window.by_layer(Kind.PARAM_GRAD_NORM)
    chain = [norms[item.name] for item in learning_matrices(window) if item.name in norms]
    chain = [series for series in chain if series.count > SILENT and series.values[0] > 0]
    silent = [series for series in chain if not series.tail(SILENT).any()]
    if len(silent) <= MOSTLY * len(chain) or len(silent) < 2:
        return None
    alive = min(int(series.steps[np.flatnonzero(series.values > 0)[-1]]) for series in silent)
    high = (ratios >= rewrite) & (steps <= alive)
    if int(np.count_nonzero(high)) < REWRITTEN:
        return None
    first, count, top = int(steps[high][0]), int(np.count_nonzero(high)), float(ratios[high].max())
    return Verdict(
        severity=Severity.ERROR,
        first_step=first,
        message=(
            f"{count} measured steps from step {first} on changed the weights by {rewrite:.0%} or more (median over "
            f"the layers, {top:.0%} at most), and {len(silent)} of {len(chain)} weight matrices got a gradient of "
            f"exactly 0 since, the first after step {alive}: the units behind them died of it"
        ),
        advice=(
            "Divide `lr` by 3 to 10 where the optimizer is made, and warm up over the first 1 to 5 % of the steps "
            "(torch.optim.lr_scheduler.LinearLR)."
        ),
        evidence=Evidence(
            numbers={"update_ratio": top, "steps": count, "silent": len(silent), "matrices": len(chain)},
            series=("loss",),
            limit=rewrite,
        ),
        at_once=True,
    )
