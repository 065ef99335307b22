"""GW402: the batch is far above or below the gradient noise scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._loss_call import loss_call
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

SMALL, LARGE = "noise_scale/small", "noise_scale/large"


class BatchVsNoiseScale(Rule):
    """The run has a batch far above or below the gradient noise scale

    ## What it does
    Where a loop accumulates, the squared gradient norms of one micro-batch and of the whole step tell how much of a
    gradient is noise: |G|² = (B·|g_B|² − b·|g_b|²) / (B − b) and S = (|g_b|² − |g_B|²) / (1/b − 1/B), each averaged
    over the later half of the run. The noise scale is S / |G|². A batch of more than ten times that, or of less than a
    twentieth, is told. Processes that share a batch under DistributedDataParallel would be two sizes as well, but it
    puts their gradients together while the backward runs, and no process's own are left to be measured.

    ## Why it matters
    At ten times the noise scale eleven times the examples buy one tenth of the steps less; at a twentieth of it a step
    takes hardly any time and 21 times as many are needed.

    ## What you see in the chart
    Both curves side by side: the micro-batch above the step by the ratio of their sizes where all is noise, level with
    it where none is.

    ## What to try
    - Far above: accumulate less, or use the examples for more steps.
    - Far below: accumulate more, or a larger batch with a rate that grows with its square root.
    - The scale grows while a run learns: look again later.

    ## Example
    ```python
    for part in range(64): ...    # 64 micro-batches of 32, and a noise scale of 100
    for part in range(4): ...
    ```

    ## References
    - McCandlish et al. 2018, *An Empirical Model of Large-Batch Training*, appendix A.1.
    - The factors of 10 and 1/20 are ours.
    """

    code = "GW402"
    name = "batch-vs-noise-scale"
    severity = Severity.INFO
    since = "0.3.0"
    chart = "grad-norm"
    tier = "layers"
    clock = "sample"
    whole_run = True
    stage = Stage.STATISTICS

    @dataclass(frozen=True)
    class Params:
        """How far is far."""

        above: float = threshold(
            10.0, unit="times the noise scale", low=1.0, high=1e4, relax="down", source="ours: 11×"
        )
        below: float = threshold(0.05, unit="of the noise scale", low=1e-4, high=1.0, relax="up", source="ours: 21×")
        samples: int = threshold(50, unit="samples in the later half", low=10, high=10_000, source="ours: its spread")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the later half of the run."""
        small, large = window.series(SMALL), window.series(LARGE)
        count = min(small.count, large.count)
        if not count:
            yield NotEvaluated("the loop does not accumulate, so there is one batch size only")
            return
        if count < 2 * params.samples:
            yield NotEvaluated(f"{2 * params.samples} measured steps are needed, {count} are in")
            return
        call = loss_call(window)
        parts = int(window.fact("loop").get("backwards_per_step") or 0)
        size = call.batch_size if call is not None else 0
        if size < 1 or parts < 2:
            yield NotEvaluated("the size of a micro-batch is not known")
            return
        values = np.array([small.tail(count // 2), large.tail(count // 2)])
        values = values[:, np.isfinite(values).all(axis=0)]
        if values.shape[1] < params.samples:
            return
        one, all_of_them = (float(item) for item in values.mean(axis=1))
        batch = size * parts
        signal = (batch * all_of_them - size * one) / (batch - size)
        noise = (one - all_of_them) / (1 / size - 1 / batch)
        if not (signal > 0 and noise > 0):
            return  # drowned: no scale can be told
        scale = noise / signal
        ratio = batch / scale
        if params.below <= ratio <= params.above:
            return
        far = f"{ratio:.3g} times" if ratio > 1 else f"1/{1 / ratio:.3g} of"
        yield say(
            Severity.INFO,
            f"A step takes {batch} examples ({parts} micro-batches of {size}), {far} the gradient noise scale of "
            f"{scale:.3g}",
            "Accumulate fewer micro-batches: the gradient hardly gains by the others."
            if ratio > 1
            else "Accumulate more micro-batches, or take a larger batch with a higher rate: a step is mostly noise.",
            step=int(small.steps[-(count // 2)]),
            numbers={"batch": batch, "noise_scale": scale, "ratio": ratio, "signal": signal, "noise": noise},
            series=(SMALL, LARGE),
            limit=params.above if ratio > 1 else params.below,
            at_once=False,
        )
