"""GW443: gradients so small that Adam's epsilon sets the step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Floats
from server.domain.statistics import med, window_size
from server.rules._layers import learning_matrices, listed, optimizers
from server.rules._progress import stood_still, stuck
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold


class AdamEpsDominates(Rule):
    """The run has gradients so small that Adam's epsilon sets the step

    ## What it does
    Computes the root mean square of each matrix's gradient, ‖g‖/√n, over the newest window: below 10·ε for more than a
    quarter of the matrices. A matrix that still moves by a thousandth of itself a step is left out. An info where the
    target moves (PPO clips a policy's gradients together with those of its critic, which are a thousand times as
    large).

    ## Why it matters
    Adam divides by √v + ε. Where ε is the larger of the two, the update shrinks with the gradient and the layer stops
    learning.

    ## What you see in the chart
    Update ratios that fall with the gradient norm although Adam should hold them.

    ## What to try
    - `eps=1e-12` (or 1e-15 in float32).
    - Look for a loss that is divided once too often.

    ## Example
    ```python
    Adam(model.parameters(), eps=1e-8)      # gradients of 1e-9: no step
    Adam(model.parameters(), eps=1e-12)     # right for them
    ```

    ## References
    - Wortsman et al. 2023, *Small-scale proxies for large-scale Transformer training instabilities*.
    - 10 and a quarter are ours.
    """

    code = "GW443"
    name = "adam-eps-dominates"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 4
    needs = (Kind.PARAM_GRAD_NORM,)
    chart = "gradients"
    tier = "layers"
    clock = "sample"
    persistence = (5, 10)
    clears_after = 20
    gates = ("warm_up", "late")
    whole_run = True
    stage = Stage.OPTIMISER

    @dataclass(frozen=True)
    class Params:
        """How small, for how many."""

        times: float = threshold(10.0, unit="times epsilon", low=1.0, high=1000.0, relax="down", source="ours")
        share: float = threshold(0.25, unit="of the matrices", low=0.05, high=1.0, source="ours")
        moves: float = threshold(
            1e-3, unit="of the weights, a step", low=1e-5, high=1.0, source="as lr-too-low: the usual step (Karpathy)"
        )
        depth: float = threshold(
            1e3, unit="times the smallest, in the last layer", low=10.0, high=1e9, source="as vanishing-gradient"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Compares gradients with epsilon."""
        adams = [item for item in optimizers(window) if "adam" in str(item.get("type")).lower()]
        if not adams:
            yield NotEvaluated("no optimizer of this run is an Adam")
            return
        eps = max(float(group.get("eps") or 0) for item in adams for group in item.get("groups") or [{}])
        width = window_size(window.samples, window.planned)
        norms = window.by_layer(Kind.PARAM_GRAD_NORM)
        found = {
            item.name: med(norms[item.name].tail(width)) / math.sqrt(max(item.numel, 1))
            for item in learning_matrices(window)
            if item.name in norms and norms[item.name].count >= 20
        }
        if not found or not eps:
            yield NotEvaluated("20 samples of the gradients of weight matrices are needed")
            return
        sizes = list(found.values())
        fading = len(sizes) >= 3 and sizes[0] < min(sizes[-1] / params.depth, sorted(sizes)[len(sizes) // 2])
        if fading and (stuck(window) or stood_still(window)):
            yield NotEvaluated("gradients fade from layer to layer on the way back, which vanishing-gradient judges")
            return
        moves = window.by_layer(Kind.PARAM_UPDATE_RATIO)
        small = [
            name
            for name, size in found.items()
            if 0 < size < params.times * eps
            and not _fell(norms[name].values, params.depth)
            and not (name in moves and med(moves[name].tail(width)) >= params.moves)
        ]
        losses = window.loss.tail(width)
        solved = len(losses) and med(losses) < 0.01 * abs(med(window.loss.values[:5]))
        if len(small) > params.share * len(found) and not solved:
            yield say(
                Severity.INFO if window.gates.moving_target else Severity.WARNING,
                f"The gradients of {percent(len(small) / len(found))} of the weight matrices are below "
                f"{params.times:g} "
                f"times Adam's epsilon {eps:g}: {listed(small)}",
                f"Pass eps={eps * 1e-4:g} to the optimizer, and look for a loss that is divided once too often.",
                layers=[name.rpartition(".")[0] for name in small],
                numbers={"matrices": len(small), "of": len(found), "eps": eps, "smallest_rms": min(found.values())},
                series=[f"grad_norm/{name}" for name in small[:8]],
                limit=params.times * eps,
                at_once=False,
            )


def _fell(values: Floats, times: float) -> bool:
    """Says whether gradients were far larger at the start: what made them small is no epsilon."""
    return med(values[:3]) > times * med(values[-20:])
