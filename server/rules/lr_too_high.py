"""GW411: steps are so large that weights are rewritten and the loss pays for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._early_rate import SETTLED, died, early
from server.rules._late_rate import late, late_blow
from server.rules._loss_call import loss_call
from server.rules._progress import first_finite
from server.rules._rate_limits import START, RateLimits
from server.rules._rates import NO_GRADIENT, medians, no_gradient_ever
from server.rules.base import Rule, Stage

INPUT_FAULT = "GW107"


class LrTooHigh(Rule):
    """The run has a learning rate that rewrites its weights faster than they can learn

    ## What it does
    U is the median over the weight matrices of ‖Δw‖/‖w‖.

    *Early*, in the first 20 samples, whatever the warm-up; targets out of reach (GW109) come first:

    - A U of 0.3 or more, after which the loss is 20 % above its first value or not finite in 3 of 20 samples (error).
    - A U of 0.3 in two samples, or fewer than 20 samples whose U add up to 0.5, after which most matrices, which had a
      gradient before, have one of exactly 0 in all of the newest samples (error); not where the loss went down to what
      a kept margin costs. Of a policy or game, whose loss tells nothing, only where that comes within 20 samples.
    - A U of 0.5 in two of the first 10, and a run that ends above its first loss, or within 1 % of it after three of
      0.3 (error); not where weight decay makes most of each update. Of a policy or game: a U of 0.5 and another of 0.3
      after which the gradient norm is gone, or, where one had a U of 1 or more, is at 20 times its first value in 3 of
      the first 20 samples (error).
    - A loss above 10 times its first value in the first fifth, with a U above 0.01 (warning); not where the part that
      was most of the first loss fell meanwhile, nor beside a codebook, whose distance to its inputs begins near 0.
    - A U above 0.03 and a run that never learned, or whose largest attention score passed 100 and ten times its start
      (warning). Up to 0.1 a run that never learned counts only where the loss rose 20 % above its first value, diverged
      or ended there, or units died: a network that starts small has to grow, and a loss has other reasons to stand
      still.
    - 3 of the first 10 steps with a U of 0.3 or more, and a classification of more than 10 classes that ends within
      10 % of the entropy of its labels; 25 % where one of them had a U of 1 or more and the loss rose 20 % above its
      first value (warning).
    - The same 3 steps, one of them with a U of 1 or more, after which the loss rose by half, to more than all that its
      noise reaches later: a run of 200 samples that came down again but ends above a quarter of its first loss, and has
      not fallen by 10 % in its last half (warning).

    *Late*: U above max(0.1, 20 × its equilibrium) in 50 of the window's samples while the loss neither falls nor is at
    its floor, or U above 0.03 while the loss swings or diverges or the gradient norm has jumped 3 times; not of
    gradients that the loop sets itself, without any backward. The equilibrium is √(2ηλ/(1+μ)) for SGD and
    √(2ηλ(1−β1)/(1+β1)) for AdamW.

    ## Why it matters
    A step of a third of the weight forgets a third of what was learned. Often one such step in the beginning is enough:
    units die, outputs saturate, and all later rates look harmless because nothing moves any more.

    ## What you see in the chart
    Update ratios above 0.1; the loss jumps in the first steps, or swings without settling.

    ## What to try
    - Divide the learning rate by 3 to 10; by 10 to 30 where a step changes the weights by 0.3 of their size or more, by
      30 to 100 where by all of it.
    - Warm up over the first 1 to 5 % of the steps: `LinearLR(optimizer, 0.01, total_iters=steps // 50)`.
    - Adam moves every weight by about the learning rate in its first steps, whatever the gradient: 1e-3 on weights of
      size 0.02 is 5 %.

    ## Example
    ```python
    optimizer = Adam(model.parameters(), lr=0.1)     # wrong: five times the size of a weight, per step
    optimizer = Adam(model.parameters(), lr=1e-3)    # right
    ```

    ## References
    - Kosson et al. 2023, *Rotational Equilibrium*: the balance of decay and update size.
    - Wortsman et al. 2023, *Small-scale proxies*: attention scores that grow are the first sign of too high a rate.
    - 0.1: TheDeepChecker. The rule of thumb "1e-3 of the weight" brands healthy SGD and every Adam warm-up; the early
      limits are ours.
    """

    code = "GW411"
    name = "lr-too-high"
    severity = Severity.ERROR
    since = "0.1.0"
    version = 9
    needs = (Kind.PARAM_UPDATE_RATIO,)
    chart = "updates"
    tier = "layers"
    persistence = (1, 1)
    clears_after = 10
    stage = Stage.EARLY_RATE
    levels = {"first_loss": "first loss"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params(RateLimits):
        """How large a step may be."""

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Looks at the beginning, then at the newest window."""
        start = first_finite(window.loss.values[:START])
        if not len(medians(window, head=START)[1]):
            yield NotEvaluated("the updates of no weight matrix were measured yet")
            return
        if no_gradient_ever(window):
            yield NotEvaluated(NO_GRADIENT)
            return
        verdict = None
        learnable = start is not None and not window.gates.moving_target and INPUT_FAULT not in window.open_codes
        if learnable and start is not None and (window.samples <= SETTLED or window.final or window.firing):
            steps, ratios = medians(window, head=START)
            verdict = early(window, steps, ratios, start, params) if len(ratios) else None
        if verdict is None and start is not None and not window.gates.moving_target:
            verdict = late_blow(window, params)
        if verdict is None and window.gates.moving_target and window.final:
            verdict = died(window, params)
        if verdict is None:
            verdict = late(window, params)
        if verdict is not None:
            yield _of_a_sum(window, verdict)
        elif start is None:
            yield NotEvaluated("no finite loss says whether the steps are too large", "monitor.step(loss)")


def _of_a_sum(window: Window, verdict: Verdict) -> Verdict:
    """Says first what else makes steps large: a loss that is summed over the batch."""
    call = loss_call(window)
    if call is None or call.reduction != "sum" or not call.alone or window.fact("graph").get("scaled_by"):
        return verdict
    told = f"{call.function} is summed over the batch: use its mean, whose gradient does not grow with the batch. Else "
    return replace(verdict, advice=told + verdict.advice[:1].lower() + verdict.advice[1:])
