"""GW411: steps are so large that weights are rewritten and the loss pays for it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Floats
from server.domain.statistics import finite, med, median, median_error, window_size
from server.rules._killed import killed, learned_below
from server.rules._progress import SMALLEST_GAIN, SURE_ERRORS, first_finite, loss_quarters
from server.rules._rates import NO_GRADIENT, decay_shares, equilibrium, medians, no_gradient_ever
from server.rules._shares_alone import shares_alone
from server.rules._spikes import marks, norms
from server.rules.base import Rule, Stage, threshold

START = 20  # samples of the early look
AFTER = 20  # samples after a large step in which the loss may answer
RECENT = 40  # newest samples in which a single step that rewrote the weights is looked for
SETTLED = 2000  # samples after which the beginning has been judged; the end of the run looks at it once more
DECAY_IS_THE_CAUSE = 0.5  # of an update: then it is not the rate that rewrites the weights
ANSWERS = 3  # of them, so that one noisy batch is no answer
RECOVERED = 0.9  # of the first loss: below it the start was survived
INPUT_FAULT = "GW107"
NEWEST = 5  # samples of attention scores, whose median is a level
GONE = 1e-4  # of the first gradients
GROWTH = 10  # times the first scores
REWRITTEN = 3  # of the first 10 steps
FAR_TARGETS = "GW109"
HARMED = frozenset({"GW208", "GW308"})  # what only steps that are too large do
NEVER_LEARNED = frozenset({"GW206", "GW208", "GW308", "GW311"})
SWINGS = frozenset({"GW207", "GW208"})


class LrTooHigh(Rule):
    """The run has a learning rate that rewrites its weights faster than they can learn

    ## What it does
    U is the median over the weight matrices of ‖Δw‖/‖w‖. *Early* (first 20 samples, no warm-up gate): a U of 0.3 or
    more after which the loss is 20 % above its first value, or not finite, in at least 3 of 20 samples (error); U ≥ 0.3
    in two samples after which most matrices, and all of the newest samples, have a gradient of exactly 0 (error); U ≥
    0.5 in two of the first 10 and a run that ends above its first loss (error); a loss above 10 times its first value
    in the first fifth with U > 0.01 (warning); U > 0.03 and a run that never learned (up to 0.1 only where the loss
    rose 20 % above its first value, diverged or ended there, or units died: a network that starts small has to grow,
    and a loss has other reasons to stand still), or whose largest attention score passed 100 and ten times its start
    (warning); 3 of the first 10 steps with a U of 0.3 or more and a classification of more than 10 classes that ends
    within 10 % of the entropy of its labels (warning). Targets out of reach (GW109) come first. *Late*: U > max(0.1,
    20 × its equilibrium) in 50 of the window's samples while the loss neither falls nor is at its floor, or U > 0.03
    while the loss swings or diverges or the gradient norm has jumped 3 times. The equilibrium is √(2ηλ/(1+μ)) for SGD
    and √(2ηλ(1−β1)/(1+β1)) for AdamW.

    ## Why it matters
    A step of a third of the weight forgets a third of what was learned. Often one such step in the beginning is enough:
    units die, outputs saturate, and all later rates look harmless because nothing moves any more.

    ## What you see in the chart
    Update ratios above 0.1; the loss jumps in the first steps, or swings without settling.

    ## What to try
    - Divide the learning rate by 3 to 10.
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
    version = 3
    needs = (Kind.PARAM_UPDATE_RATIO,)
    chart = "updates"
    tier = "layers"
    persistence = (1, 1)
    clears_after = 10
    stage = Stage.EARLY_RATE
    levels = {"first_loss": "first loss"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How large a step may be."""

        rewrite: float = threshold(
            0.3, unit="of the weights, per step", low=0.01, high=10.0, source="ours: a third of the weights in one step"
        )
        rewrite_twice: float = threshold(
            0.5, unit="of the weights, per step", low=0.01, high=10.0, source="ours: twice in ten steps"
        )
        loss_answer: float = threshold(
            1.2, unit="times the first loss", low=1.0, high=100.0, source="ours: beyond the noise of a batch"
        )
        blow_up: float = threshold(
            10.0, unit="times the first loss", low=1.5, high=1e6, source="ours: no healthy start does that"
        )
        blow_up_update: float = threshold(
            0.01, unit="of the weights, per step", low=1e-5, high=1.0, source="ours: else the data did it"
        )
        harm: float = threshold(
            0.03,
            unit="of the weights, per step",
            low=1e-4,
            high=1.0,
            source="ours: ten times a usual step, with a second witness",
        )
        late: float = threshold(
            0.1, unit="of the weights, per step", low=1e-3, high=10.0, relax="down", source="TheDeepChecker, traintools"
        )
        equilibria: float = threshold(
            20.0, unit="times the equilibrium", low=1.0, high=1000.0, source="ours: a factor beyond any schedule"
        )
        late_samples: int = threshold(
            50, unit="samples of the window", low=5, high=200, source="ours: a quarter of 200"
        )
        marks: int = threshold(3, unit="jumps of the gradient norm", low=1, high=100, source="as gradient-spike")
        floor: float = threshold(
            0.05,
            unit="of the first losses",
            low=0.0,
            high=1.0,
            source="ours: near zero loss small weights make U large",
        )
        scores: float = threshold(
            100.0, unit="largest |attention score|", low=10.0, high=1e5, source="as attention-logit-growth: Kimi K2"
        )
        early_share: float = threshold(
            0.2, unit="of the run", low=0.01, high=1.0, source="ours: later blow-ups are divergence"
        )

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
            verdict = _early(window, steps, ratios, start, params) if len(ratios) else None
        if verdict is None and start is not None and not window.gates.moving_target:
            verdict = _late_blow(window, params)
        if verdict is None and window.gates.moving_target and window.final:
            verdict = _died(window, params)
        if verdict is None:
            verdict = _late(window, params)
        if verdict is not None:
            yield verdict
        elif start is None:
            yield NotEvaluated("no finite loss says whether the steps are too large", "monitor.step(loss)")


def _early(window: Window, steps: np.ndarray, ratios: Floats, start: float, params: LrTooHigh.Params) -> Verdict | None:
    losses, at = window.loss.values, window.loss.steps
    now = med(window.loss.tail(START))
    broken = bool(len(losses)) and not np.isfinite(losses[-1])
    learned = learned_below(window, start, RECOVERED)
    if window.loss.count > START + AFTER and not broken and now < learned:
        # the start was survived, if it was not too wild
        survived = _blow_up(window, ratios, start, params) or _attention_grew(window, steps, ratios, params)
        return survived or _shares_alone(window, steps, ratios, now, params)
    answer = start + (params.loss_answer - 1) * abs(start)
    top = float(np.max(ratios))
    for index in np.flatnonzero(~(ratios < params.rewrite)):
        step, ratio = steps[index], ratios[index]
        begin = int(np.searchsorted(at, step, side="right"))
        after = losses[begin : begin + AFTER]
        worse = int(np.count_nonzero(~(after <= answer)))
        if worse >= ANSWERS:
            peak = "non-finite" if not np.isfinite(after).all() else f"{float(np.max(after)):.4g}"
            return _verdict(
                Severity.ERROR,
                int(step),
                f"Step {step} changed the weights by {ratio:.0%} (median over the layers, limit "
                f"{params.rewrite:.0%}), and the loss rose from {start:.4g} to {peak}",
                {"update_ratio": float(ratio), "first_loss": start, "samples_above": worse},
                params.rewrite,
            )
    dead = killed(window, steps, ratios, params.rewrite)
    if dead is not None:
        return dead
    high = steps[:10][ratios[:10] >= params.rewrite_twice]
    ends_above = window.final and not now < start
    if len(high) >= 2 and ends_above:
        return _verdict(
            Severity.ERROR,
            int(high[0]),
            f"{len(high)} of the first 10 steps changed the weights by {params.rewrite_twice:.0%} or more, and the "
            f"run ends at a loss of {now:.4g}, above its first {start:.4g}",
            {"update_ratio": top, "first_loss": start, "last_loss": now},
            params.rewrite_twice,
        )
    blown = _blow_up(window, ratios, start, params)
    if blown is not None or (broken and med(finite(losses)[-START:]) < learned):
        return blown  # what had learned before it broke did not break by its first steps
    never = _never_learned(window, steps, ratios, start, now, params)
    return never or _attention_grew(window, steps, ratios, params)


def _died(window: Window, params: LrTooHigh.Params) -> Verdict | None:
    """Finds a game or a policy, whose loss tells nothing, that the first steps rewrote and whose gradient is gone."""
    steps, ratios = medians(window, head=START)
    norms = window.series("grad_norm")
    high = steps[:10][ratios[:10] >= params.rewrite]
    wild = len(high) >= 2 and float(np.max(ratios[:10])) >= params.rewrite_twice
    if not wild or norms.count < START:
        return None
    first, now = med(norms.values[:3]), med(norms.tail(START))
    if not now <= GONE * first:
        return None
    return _verdict(
        Severity.ERROR,
        int(high[0]),
        f"{len(high)} of the first 10 steps changed the weights by {params.rewrite:.0%} or more, and the gradient "
        f"norm fell from {first:.3g} to {now:.3g}: what is left gives one answer, surely, and learns nothing",
        {"update_ratio": float(np.max(ratios)), "first_norm": first, "norm": now},
        params.rewrite,
    )


def _blow_up(window: Window, ratios: Floats, start: float, params: LrTooHigh.Params) -> Verdict | None:
    usual = median(ratios)
    total = window.planned or (window.samples if window.final else 0)
    count = max(START, int(params.early_share * total)) if total else 5 * START
    first = window.loss.values[:count]
    kept = first[np.isfinite(first)]
    limit = params.blow_up * abs(start)
    if usual <= params.blow_up_update or not len(kept) or float(np.max(kept)) <= limit:
        return None
    if np.count_nonzero(kept > limit) < 2 and float(np.max(kept)) <= params.blow_up * limit:
        return None  # one wild batch: weights that a step has harmed are not well again after the next one
    peak = int(np.nanargmax(np.where(np.isfinite(first), first, -math.inf)))
    step = int(window.loss.steps[peak])
    return _verdict(
        Severity.WARNING,
        step,
        f"The loss rose from {start:.4g} to {first[peak]:.4g} at step {step} (limit {params.blow_up:g} times), while "
        f"a step changed the weights by {usual:.1%}",
        {"update_ratio": usual, "first_loss": start, "largest_loss": float(first[peak])},
        params.blow_up,
    )


def _never_learned(
    window: Window, steps: np.ndarray, ratios: Floats, start: float, now: float, params: LrTooHigh.Params
) -> Verdict | None:
    usual = median(ratios)
    ends_above = window.final and not now <= start + (params.loss_answer - 1) * abs(start)
    codes = window.open_codes
    symptoms = sorted(NEVER_LEARNED & codes)
    if usual <= params.harm or len(ratios) < START // 2 or not (ends_above or symptoms) or FAR_TARGETS in codes:
        return None
    harmed = ends_above or HARMED & codes or usual > params.late or _rose(window, start, params)
    if not harmed:
        return None  # small weights grow by as much a step, and other causes keep a loss where it is
    shares = decay_shares(window)
    if shares and float(np.median(list(shares.values()))) > DECAY_IS_THE_CAUSE:
        return None  # GW451 says so
    return _verdict(
        Severity.WARNING,
        int(steps[0]),
        f"The first {len(ratios)} samples changed the weights by {usual:.1%} a step (limit {params.harm:.0%}), and "
        f"the run never learned: loss {start:.4g} at first, {now:.4g} now",
        {"update_ratio": usual, "first_loss": start, "loss_now": now},
        params.harm,
    )


def _shares_alone(
    window: Window, steps: np.ndarray, ratios: Floats, now: float, params: LrTooHigh.Params
) -> Verdict | None:
    """Finds a classification whose first steps rewrote the weights, and that learned how often its classes come and
    little else: what it falls to there is no sign that the start was survived."""
    high = steps[:10][ratios[:10] >= params.rewrite]
    found = shares_alone(window, now, RECOVERED) if window.final and len(high) >= REWRITTEN else None
    if found is None:
        return None
    level, classes = found
    return _verdict(
        Severity.WARNING,
        int(high[0]),
        f"{len(high)} of the first 10 steps changed the weights by {params.rewrite:.0%} or more, and the run ends at a "
        f"loss of {now:.4g}, near {level:.4g}, what the shares of {classes} classes give without any input",
        {"update_ratio": float(np.max(ratios[:10])), "last_loss": now, "entropy": level},
        params.rewrite,
    )


def _rose(window: Window, start: float, params: LrTooHigh.Params) -> bool:
    """Says whether the loss answered the first steps: several samples clearly above its first value."""
    first = window.loss.values[1 : 5 * START]
    return int(np.count_nonzero(~(first <= start + (params.loss_answer - 1) * abs(start)))) >= ANSWERS


def _attention_grew(window: Window, steps: np.ndarray, ratios: Floats, params: LrTooHigh.Params) -> Verdict | None:
    """Finds scores of attention that left every bound: of too high a rate they are the first sign, before the loss."""
    usual = median(ratios)
    if usual <= params.harm or len(ratios) < START // 2:
        return None
    calls = [finite(series.values[:SETTLED]) for series in window.by_layer(Kind.ACT_SCORES).values()]
    grown = [(_peak(values), med(values[:3])) for values in calls if len(values) >= 2 * NEWEST]
    top, first = max(((top, first) for top, first in grown if top > GROWTH * first), default=(0.0, 0.0))
    if top <= params.scores:
        return None
    return _verdict(
        Severity.WARNING,
        int(steps[0]),
        f"The first {len(ratios)} samples changed the weights by {usual:.1%} a step (limit {params.harm:.0%}), and the "
        f"largest attention score went from {first:.3g} to {top:.3g}",
        {"update_ratio": usual, "score": top, "first_score": first},
        params.harm,
    )


def _peak(values: Floats) -> float:
    """Gives the highest level: scores that came down after they had grown were as harmful as those that did not."""
    return float(np.max(np.median(np.lib.stride_tricks.sliding_window_view(values, NEWEST), axis=1)))


def _late_blow(window: Window, params: LrTooHigh.Params) -> Verdict | None:
    """Finds a single step, after the start, that rewrote the weights and was answered by the loss at once."""
    steps, ratios = medians(window, tail=RECENT)
    losses, at = window.loss.values, window.loss.steps
    for index in np.flatnonzero(ratios >= params.rewrite):
        step, ratio = steps[index], ratios[index]
        begin = int(np.searchsorted(at, step, side="right"))
        if begin < 3 * START:
            continue
        level = med(losses[max(0, begin - 5 * START) : max(1, begin - 3)])
        answer = level + (params.loss_answer - 1) * abs(level)
        after = losses[begin : begin + AFTER]
        if int(np.count_nonzero(~(after <= answer))) >= ANSWERS:
            peak = "non-finite" if not np.isfinite(after).all() else f"{float(np.max(after)):.4g}"
            return _verdict(
                Severity.ERROR,
                int(step),
                f"Step {step} changed the weights by {ratio:.0%} (median over the layers, limit "
                f"{params.rewrite:.0%}), and "
                f"the loss went from {level:.4g} to {peak}",
                {"update_ratio": float(ratio), "loss_before": level},
                params.rewrite,
            )
    return None


def _late(window: Window, params: LrTooHigh.Params) -> Verdict | None:
    if window.gates.warm_up or window.gates.lr_changed or window.gates.late:
        return None
    width = window_size(window.samples, window.planned)
    steps, ratios = medians(window, tail=width)
    if len(ratios) < min(params.late_samples, width):
        return None
    balance = equilibrium(window)
    limit = max(params.late, params.equilibria * balance)
    needed = min(params.late_samples, max(1, width // 2))
    over = ratios > limit
    usual = med(ratios)
    if int(np.count_nonzero(over)) >= needed and not _at_floor(window, params) and not _gains(window, int(steps[0])):
        return _verdict(
            Severity.WARNING,
            int(steps[over][0]),
            f"{int(np.count_nonzero(over))} of the last {len(ratios)} samples changed the weights by more than "
            f"{limit:.2g} of their size a step (median {usual:.2g})",
            {"update_ratio": usual, "equilibrium": balance, "samples_over": int(np.count_nonzero(over))},
            limit,
        )
    if usual > params.harm and not window.gates.moving_target:
        name, series = norms(window)
        jumps = len(marks(window, series)) if series else 0
        swings = sorted(SWINGS & window.open_codes)
        if swings or jumps >= params.marks:
            seen = "the loss swings or diverges" if swings else f"the gradient norm jumped {jumps} times ({name})"
            return _verdict(
                Severity.WARNING,
                int(steps[0]),
                f"A step changes the weights by {usual:.1%} (median over the layers, limit {params.harm:.0%}), and "
                f"{seen}",
                {"update_ratio": usual, "equilibrium": balance, "jumps": jumps},
                params.harm,
            )
    return None


def _gains(window: Window, since: int) -> bool:
    """Says whether the newest losses are surely below those before, of all since a step: then weights that grow are no
    harm."""
    losses = finite(window.loss.values[window.loss.steps >= since])
    before, now = losses[: len(losses) // 2], losses[len(losses) // 2 :]
    if len(losses) < 2 * START:
        return False
    error = SURE_ERRORS * math.hypot(median_error(before), median_error(now))
    return med(before) - med(now) > max(error, SMALLEST_GAIN * abs(med(before)))


def _at_floor(window: Window, params: LrTooHigh.Params) -> bool:
    parts = loss_quarters(window)
    return parts is not None and abs(med(window.loss.tail(START))) <= params.floor * abs(parts.start)


def _verdict(severity: Severity, step: int, message: str, numbers: dict[str, float], limit: float) -> Verdict:
    return Verdict(
        severity=severity,
        first_step=step,
        message=message,
        advice=(
            "Divide `lr` by 3 to 10 where the optimizer is made, and warm up over the first 1 to 5 % of the steps "
            "(torch.optim.lr_scheduler.LinearLR). "
            "A range test over 100 steps (lr from 1e-7 up, until the loss turns) shows where the limit is."
        ),
        evidence=Evidence(numbers=numbers, series=("loss",), limit=limit),
        at_once=severity is Severity.ERROR,
    )
