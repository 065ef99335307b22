"""GW452: weights grow or shrink without end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Floats
from server.domain.statistics import med
from server.rules._layers import learning_matrices, listed
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

MOST_COMPARED = 60  # values of a half, so that pairs stay few


class WeightNormDrift(Rule):
    """The run has weights that grow or shrink without end

    ## What it does
    After 500 steps it compares each matrix's norm with its value at the end of the warm-up: ten times larger and still
    growing, or less than a hundredth. Still growing means that the Theil–Sen slope of the norm's logarithm over the
    second half (the median of the slopes between all pairs) is above 0, and that the updates, beside the weights, are
    not below a third of what they were in the middle of the run. Matrices that start at (nearly) zero are left out, and
    embeddings may grow: each row is moved by its own examples alone, from a small start.

    ## Why it matters
    Growing weights make the same learning rate smaller and smaller, and the outputs sharper and sharper; shrinking ones
    are eaten by the decay.

    ## What you see in the chart
    A weight norm that rises, or falls, in a straight line.

    ## What to try
    - Growth: weight decay, a lower learning rate, label smoothing.
    - Shrinking: less weight decay.

    ## Example
    ```python
    AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    ```

    ## References
    - Kosson et al. 2023, *Rotational Equilibrium*.
    - 10, 1/100 and a third are ours: nets with batch norm and no decay grow slowly (√t), and growth by equal steps,
      which doubles a norm in a half of the run, halves the updates beside it.
    """

    code = "GW452"
    name = "weight-norm-drift"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 2
    needs = (Kind.PARAM_WEIGHT_NORM,)
    chart = "weight-norms"
    tier = "layers"
    clock = "sample"
    persistence = (5, 5)
    clears_after = 20
    gates = ("warm_up",)
    whole_run = True
    stage = Stage.SYMPTOM
    levels = {"start": "at the start"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How far is far."""

        growth: float = threshold(10.0, unit="times", low=2.0, high=1e6, relax="down", source="ours")
        shrink: float = threshold(0.01, unit="times", low=1e-6, high=0.5, relax="up", source="ours")
        dying: float = threshold(
            0.33,
            unit="of the updates in the middle",
            low=0.0,
            high=1.0,
            source="ours: growth by equal steps halves them",
        )
        samples: int = threshold(50, unit="samples", low=20, high=10_000, source="ours: a start and a trend")
        steps: int = threshold(
            500, unit="steps", low=20, high=1_000_000, source="ours: embeddings grow at first, from a small start"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Compares now with the start, and asks whether it goes on."""
        norms = window.by_layer(Kind.PARAM_WEIGHT_NORM)
        ready = {
            item.name: norms[item.name]
            for item in learning_matrices(window)
            if item.name in norms
            and norms[item.name].count >= params.samples
            and norms[item.name].steps[-1] - norms[item.name].steps[0] >= params.steps
        }
        if not ready:
            yield NotEvaluated(f"{params.samples} samples of a weight matrix, over {params.steps} steps, are needed")
            return
        tables = {item.name for item in learning_matrices(window) if "Embedding" in item.layer_type}
        found: dict[str, tuple[float, float]] = {}
        for name, series in ready.items():
            values = series.values
            start = med(values[max(3, series.count // 20) : max(3, series.count // 20) + 5])
            middle, now = med(values[series.count // 2 : series.count // 2 + 5]), med(values[-5:])
            if not (np.isfinite(start) and start > 0 and np.isfinite(now)):
                continue
            grows = name not in tables and now > params.growth * start and now > 1.1 * middle
            grows = grows and _slope(values) > 0 and not _dies_down(window, name, params)
            if grows or (now < params.shrink * start and now < middle):
                found[name] = (start, now)
        if found:
            worst = max(found, key=lambda name: abs(np.log(max(found[name][1], 1e-30) / found[name][0])))
            start, now = found[worst]
            word = "grew" if now > start else "shrank"
            yield say(
                Severity.WARNING,
                f"The weights of `{worst}` {word} from a norm of {start:.3g} to {now:.3g} and go on"
                + (f"; also {listed([name for name in found if name != worst])}" if len(found) > 1 else ""),
                "Add weight decay or lower the learning rate." if now > start else "Lower the weight decay.",
                layers=[name.rpartition(".")[0] for name in found],
                numbers={"start": start, "now": now, "matrices": len(found)},
                series=[f"weight_norm/{name}" for name in list(found)[:8]],
                limit=params.growth if now > start else params.shrink,
                at_once=False,
            )


def _slope(values: Floats) -> float:
    """Gives the Theil-Sen slope of the logarithm over the second half; 0 where too little of it is positive."""
    half = values[len(values) // 2 :]
    half = half[:: -(-len(half) // MOST_COMPARED)]
    kept = np.flatnonzero(np.isfinite(half) & (half > 0))
    if len(kept) < 2:
        return 0.0
    logs = np.log(half[kept])
    one, other = np.triu_indices(len(kept), 1)
    return float(np.median((logs[other] - logs[one]) / (kept[other] - kept[one])))


def _dies_down(window: Window, name: str, params: WeightNormDrift.Params) -> bool:
    """Says whether the updates beside the weights fell far below those in the middle: such growth ends by itself."""
    ratios = window.series(f"{Kind.PARAM_UPDATE_RATIO.value}{name}")
    if ratios.count < params.samples:
        return False
    middle = med(ratios.values[ratios.count // 2 :][:10])
    return bool(med(ratios.tail(10)) < params.dying * middle)
