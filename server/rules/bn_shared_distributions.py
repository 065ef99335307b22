"""GW433: one batch norm serves inputs of different distributions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._batchnorm import norm_layers
from server.rules._layers import listed
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold


class BnSharedDistributions(Rule):
    """The run has batch norms that mix two distributions

    ## What it does
    Where a batch norm is called more than once in a step, it compares the two calls: the mean over the channels of
    (μ1 − μ2)²/(½(σ1² + σ2²)), less what chance makes of it. Above 0.25 in 40 % of the samples is a warning. Micro-
    batches of an accumulation come from one distribution and stay silent. In a GAN the difference fades as
    the generator learns, and real and generated batches apart are the usual recipe: up to 1 it is an info there.

    ## Why it matters
    The stored statistics are a mixture that fits neither: real and generated pictures, two domains, two views.

    ## What you see in the chart
    Good in training, where each call uses its own statistics, and poor in evaluation.

    ## What to try
    - One batch with both kinds in it; or a batch norm for each domain.
    - GroupNorm, InstanceNorm or LayerNorm, which share nothing between examples.

    ## Example
    ```python
    d(real); d(fake)                    # wrong with batch norm in d
    d(torch.cat([real, fake]))          # one distribution, or use GroupNorm
    ```

    ## References
    - D. Bansal, *Pitfalls of Batch Norm*: sharing is fine as long as the distributions are the same.
    - 0.25 (half a standard deviation) is ours.
    """

    code = "GW433"
    name = "bn-shared-distributions"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 3
    chart = "activations"
    tier = "facts"
    clears_after = 3
    stage = Stage.STRUCTURE
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How different, how often."""

        distance: float = threshold(0.25, unit="squared standard deviations", low=0.01, high=10.0, source="ours")
        game: float = threshold(
            1.0, unit="squared standard deviations, in a GAN", low=0.01, high=100.0, source="ours: DCGANs begin at 0.3"
        )
        share: float = threshold(0.4, unit="of the newest samples", low=0.1, high=1.0, source="ours: 20 of 50")
        samples: int = threshold(15, unit="samples", low=3, high=100, source="ours: a GAN's first steps differ most")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `batchnorm`."""
        known = norm_layers(window)
        if not known:
            yield NotEvaluated("no batch norm was called in training")
            return
        twice = {name: item.distances for name, item in known.items() if item.calls >= 2}
        if twice and all(len(distances) < params.samples for distances in twice.values()):
            yield NotEvaluated(f"{params.samples} samples with two calls are needed")
            return
        far = {
            name: sorted(distances)[len(distances) // 2]
            for name, distances in twice.items()
            if len(distances) >= params.samples
            and sum(value > params.distance for value in distances) >= params.share * len(distances)
        }
        if far:
            worst = max(far, key=lambda name: far[name])
            mild = window.gates.moving_target and far[worst] <= params.game
            yield say(
                Severity.INFO if mild else Severity.WARNING,
                f"{len(far)} batch norms are called {known[worst].calls} times a step on different distributions: "
                f"{listed(sorted(far, key=lambda name: -far[name]))} (distance {far[worst]:.2g}, limit "
                f"{params.distance:g})",
                f"Feed both kinds in one batch, give each its own batch norm, or replace `{worst}` by GroupNorm.",
                layers=far,
                numbers={"distance": far[worst], "calls": known[worst].calls, "layers": len(far)},
                limit=params.distance,
            )
