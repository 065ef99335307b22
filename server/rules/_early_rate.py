"""Looks for a start that its first steps spoiled: they rewrote the weights, and the loss, the units or the attention
answered. Not for: steps that are too large later (_late_rate)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Floats
from server.domain.statistics import finite, med, median
from server.rules._killed import killed
from server.rules._label_shares import learned_below, shares_alone
from server.rules._progress import SMALLEST_GAIN, loss_quarters, scattered
from server.rules._rate_limits import AFTER, ANSWERS, REPLACED, START, RateLimits, rewrites
from server.rules._rates import decay_shares, medians

DECAY_IS_THE_CAUSE = 0.5  # of an update: then it is not the rate that rewrites the weights
RECOVERED = 0.9  # of the first loss: below it the start was survived
LITTLE = 0.75  # of what the shares of the classes cost: pairs of letters that follow each other give as much
FAR, LEAPT = 0.25, 1.5  # of the first loss
FEW = 10  # losses that say nothing yet of where a run ends
STANDING, FEWEST_STANDING = 0.1, 200  # of the loss half of the run ago; losses
SETTLED = 2000  # samples after which the beginning has been judged; the end of the run looks at it once more
MOST, AGAIN, FEWEST_OF_A_PART = 0.5, 2.0, 10  # of the first loss; of a part's first value; values
NEAR_THE_LOSS = 10  # operations
NEWEST = 5  # samples of attention scores, whose median is a level
GONE = 1e-4  # of the first gradients
ROARED = 20  # times the first gradients
GROWTH = 10  # times the first scores
REWRITTEN = 3  # of the first 10 steps
FAR_TARGETS = "GW109"
HARMED = frozenset({"GW208", "GW308"})  # what only steps that are too large do
NEVER_LEARNED = frozenset({"GW206", "GW208", "GW308", "GW311"})


def early(window: Window, steps: np.ndarray, ratios: Floats, start: float, limits: RateLimits) -> Verdict | None:
    """Judges the first samples by what the loss, the units and the gradients did after them."""
    losses, at = window.loss.values, window.loss.steps
    now = med(window.loss.tail(START))
    broken = bool(len(losses)) and not np.isfinite(losses[-1])
    learned = learned_below(window, start, RECOVERED)
    if window.loss.count > START + AFTER and not broken and now < learned:
        # the start was survived, if it was not too wild
        survived = _blow_up(window, ratios, start, limits) or _attention_grew(window, steps, ratios, limits)
        spoiled = survived or _shares_alone(window, steps, ratios, start, now, limits)
        return spoiled or _stands_high(window, steps, ratios, start, limits)
    answer = start + (limits.loss_answer - 1) * abs(start)
    top = float(np.max(ratios))
    for index in np.flatnonzero(~(ratios < limits.rewrite)):
        step, ratio = steps[index], ratios[index]
        begin = int(np.searchsorted(at, step, side="right"))
        after = losses[begin : begin + AFTER]
        worse = int(np.count_nonzero(~(after <= answer)))
        if worse >= ANSWERS:
            peak = "non-finite" if not np.isfinite(after).all() else f"{float(np.max(after)):.4g}"
            return rewrites(
                Severity.ERROR,
                int(step),
                f"Step {step} changed the weights by {ratio:.0%} (median over the layers, limit "
                f"{limits.rewrite:.0%}), and the loss rose from {start:.4g} to {peak}",
                {"update_ratio": float(ratio), "first_loss": start, "samples_above": worse},
                limits.rewrite,
            )
    dead = killed(window, steps, ratios, limits)
    if dead is not None and not med(window.loss.tail(NEWEST)) < learned:  # a margin that is kept asks for nothing
        return dead
    high = steps[:10][ratios[:10] >= limits.rewrite_twice]
    stays = abs(now - start) <= SMALLEST_GAIN * abs(start)
    ended = window.final and window.loss.count > FEW
    ends_above = ended and not now <= start and not (stays and _decays(window))
    stands = ended and stays and not _decays(window)
    if len(high) >= 2 and (ends_above or (stands and np.count_nonzero(ratios[:10] >= limits.rewrite) >= REWRITTEN)):
        return rewrites(
            Severity.ERROR,
            int(high[0]),
            f"{len(high)} of the first 10 steps changed the weights by {limits.rewrite_twice:.0%} or more, and the "
            f"run ends at a loss of {now:.4g}, {'above' if ends_above else 'as good as'} its first {start:.4g}",
            {"update_ratio": top, "first_loss": start, "last_loss": now},
            limits.rewrite_twice,
        )
    blown = _blow_up(window, ratios, start, limits)
    if blown is not None or (broken and med(finite(losses)[-START:]) < learned):
        return blown  # what had learned before it broke did not break by its first steps
    never = _never_learned(window, steps, ratios, start, now, limits)
    return never or _attention_grew(window, steps, ratios, limits)


def died(window: Window, limits: RateLimits) -> Verdict | None:
    """Finds a game or a policy, whose loss tells nothing, that the first steps rewrote and whose gradient is gone,
    or leapt at once where a step was larger than the weights."""
    steps, ratios = medians(window, head=START)
    dead = killed(window, steps, ratios, limits, soon=True) if len(ratios) else None
    if dead is not None:
        return dead
    norms = window.series("grad_norm")
    high = steps[:10][ratios[:10] >= limits.rewrite]
    wild = len(high) >= 2 and float(np.max(ratios[:10])) >= limits.rewrite_twice
    if not wild or norms.count < START:
        return None
    first, now = med(norms.values[:3]), med(norms.tail(START))
    begun, after = float(norms.values[0]), norms.values[1:START]
    roared = begun > 0 and np.count_nonzero(after >= ROARED * begun) >= ANSWERS
    if float(np.max(ratios[:10])) >= REPLACED and roared:
        top, leapt = float(np.max(ratios[:10])), float(np.nanmax(after))
        found = rewrites(
            Severity.ERROR,
            int(high[0]),
            f"{len(high)} of the first 10 steps changed the weights by {limits.rewrite:.0%} or more, one of them by "
            f"{top:.0%}, and the gradient norm rose from {begun:.3g} to {leapt:.3g}",
            {"update_ratio": top, "first_norm": begun, "norm": leapt},
            limits.rewrite,
        )
        return replace(found, explains=frozenset({"GW307"}))
    if not now <= GONE * first:
        return None
    return rewrites(
        Severity.ERROR,
        int(high[0]),
        f"{len(high)} of the first 10 steps changed the weights by {limits.rewrite:.0%} or more, and the gradient "
        f"norm fell from {first:.3g} to {now:.3g}: what is left gives one answer, surely, and learns nothing",
        {"update_ratio": float(np.max(ratios)), "first_norm": first, "norm": now},
        limits.rewrite,
    )


def _blow_up(window: Window, ratios: Floats, start: float, limits: RateLimits) -> Verdict | None:
    usual = median(ratios)
    total = window.planned or (window.samples if window.final else 0)
    count = max(START, int(limits.early_share * total)) if total else 5 * START
    first = window.loss.values[:count]
    kept = first[np.isfinite(first)]
    limit = limits.blow_up * abs(start)
    if usual <= limits.blow_up_update or not len(kept) or float(np.max(kept)) <= limit:
        return None
    peak, top = int(np.nanargmax(np.where(np.isfinite(first), first, -math.inf))), float(np.max(ratios))
    step = int(window.loss.steps[peak])
    if scattered(kept) or _has_a_codebook(window) or _most_fell(window, step, start):
        return None
    if np.count_nonzero(kept > limit) < 2 and float(np.max(kept)) <= limits.blow_up * limit:
        return None  # one wild batch: weights that a step has harmed are not well again after the next one
    return rewrites(
        Severity.WARNING,
        step,
        f"The loss rose from {start:.4g} to {first[peak]:.4g} at step {step} (limit {limits.blow_up:g} times), while "
        f"a step changed the weights by {usual:.1%}" + (f" (the largest by {top:.0%})" if top >= 2 * usual else ""),
        {"update_ratio": usual, "first_loss": start, "largest_loss": float(first[peak])},
        limits.blow_up,
    )


def _has_a_codebook(window: Window) -> bool:
    """Says whether the loss compares rows of a table, which the model itself looks up, with what it computed: both are
    near nothing at first, so that their distance grows until the table has followed."""
    inputs, operations = window.fact("inputs"), window.fact("graph").get("operations")
    if not inputs or not isinstance(operations, (list, tuple)):
        return False
    floats = all(isinstance(item, Mapping) and "float" in str(item.get("dtype")) for item in inputs.values())
    errors = [name for name in map(str, operations[:NEAR_THE_LOSS]) if name.startswith(("MseLoss", "Pow"))]
    return floats and len(errors) > 1 and any(str(name).startswith("Embedding") for name in operations)


def _most_fell(window: Window, peak: int, start: float) -> bool:
    """Says whether the part that was most of the first loss was learned all the while, up to that step: then the rise
    is that of parts that begin near nothing, such as a codebook or a divergence, which have to grow with what they
    follow."""
    for part in window.by_layer(Kind.LOSS_PART).values():
        values = part.values[part.steps <= peak]
        if len(values) < FEWEST_OF_A_PART or not np.isfinite(values).all():
            continue
        began = float(values[0])
        stayed = float(np.max(values)) < AGAIN * began
        if began > MOST * abs(start) and stayed and med(values[-NEWEST:]) < RECOVERED * began:
            return True
    return False


def _never_learned(
    window: Window, steps: np.ndarray, ratios: Floats, start: float, now: float, limits: RateLimits
) -> Verdict | None:
    usual = median(ratios)
    ends_above = window.final and not now <= start + (limits.loss_answer - 1) * abs(start)
    codes = window.open_codes
    symptoms = sorted(NEVER_LEARNED & codes)
    if usual <= limits.harm or len(ratios) < START // 2 or not (ends_above or symptoms) or FAR_TARGETS in codes:
        return None
    harmed = ends_above or HARMED & codes or usual > limits.late or _rose(window, start, limits)
    if not harmed:
        return None  # small weights grow by as much a step, and other causes keep a loss where it is
    if _decays(window):
        return None  # GW451 says so
    return rewrites(
        Severity.WARNING,
        int(steps[0]),
        f"The first {len(ratios)} samples changed the weights by {usual:.1%} a step (limit {limits.harm:.0%}), and "
        f"the run never learned: loss {start:.4g} at first, {now:.4g} now",
        {"update_ratio": usual, "first_loss": start, "loss_now": now},
        limits.harm,
    )


def _decays(window: Window) -> bool:
    """Says whether weight decay makes most of the updates: then it is not the rate that rewrites the weights."""
    shares = decay_shares(window)
    return bool(shares) and float(np.median(list(shares.values()))) > DECAY_IS_THE_CAUSE


def _shares_alone(
    window: Window, steps: np.ndarray, ratios: Floats, start: float, now: float, limits: RateLimits
) -> Verdict | None:
    """Finds a classification whose first steps rewrote the weights, and that learned how often its classes come and
    little else: what it falls to there is no sign that the start was survived. Where a step was larger than the
    weights, nothing of their start is left, and where the loss answered as well, a quarter below that is little."""
    high = steps[:10][ratios[:10] >= limits.rewrite]
    near = LITTLE if _replaced(window, ratios, start, limits) else RECOVERED
    found = shares_alone(window, now, near) if window.final and len(high) >= REWRITTEN else None
    if found is None:
        return None
    level, classes = found
    beside = "near" if now > RECOVERED * level else "not far below"
    return rewrites(
        Severity.WARNING,
        int(high[0]),
        f"{len(high)} of the first 10 steps changed the weights by {limits.rewrite:.0%} or more, and the run ends at a "
        f"loss of {now:.4g}, {beside} {level:.4g}, what the shares of {classes} classes give without any input",
        {"update_ratio": float(np.max(ratios[:10])), "last_loss": now, "entropy": level},
        limits.rewrite,
    )


def _stands_high(window: Window, steps: np.ndarray, ratios: Floats, start: float, limits: RateLimits) -> Verdict | None:
    """Finds a run that came down from a start that was replaced, and for its whole last half stands far from solved."""
    high = steps[:10][ratios[:10] >= limits.rewrite]
    parts, losses = loss_quarters(window) if window.final and len(high) >= REWRITTEN else None, window.loss.values
    if parts is None or len(losses) < FEWEST_STANDING or not _replaced(window, ratios, start, limits):
        return None
    moved = parts.q4 < FAR * start or parts.q2 - parts.q4 > STANDING * parts.q2
    peak, noise = float(np.max(losses[:AFTER])), float(np.max(losses[len(losses) // 2 :]))
    if start <= 0 or moved or not peak > max(LEAPT * start, noise):
        return None
    return rewrites(
        Severity.WARNING,
        int(high[0]),
        f"{len(high)} of the first 10 steps changed the weights by {limits.rewrite:.0%} or more, and the loss, which "
        f"rose from {start:.4g} to {peak:.4g}, has stood at about {parts.q4:.2g} for the last half of the run",
        {"update_ratio": float(np.max(ratios[:10])), "first_loss": start, "largest_loss": peak, "last_loss": parts.q4},
        limits.rewrite,
    )


def _replaced(window: Window, ratios: Floats, start: float, limits: RateLimits) -> bool:
    """Says whether nothing is left of the weights' start, and the loss answered."""
    return float(np.max(ratios[:10])) >= REPLACED and _rose(window, start, limits)


def _rose(window: Window, start: float, limits: RateLimits) -> bool:
    """Says whether the loss answered the first steps: several samples clearly above its first value."""
    first = window.loss.values[1 : 5 * START]
    return int(np.count_nonzero(~(first <= start + (limits.loss_answer - 1) * abs(start)))) >= ANSWERS


def _attention_grew(window: Window, steps: np.ndarray, ratios: Floats, limits: RateLimits) -> Verdict | None:
    """Finds scores of attention that left every bound: of too high a rate they are the first sign, before the loss."""
    usual = median(ratios)
    if usual <= limits.harm or len(ratios) < START // 2:
        return None
    calls = [finite(series.values[:SETTLED]) for series in window.by_layer(Kind.ACT_SCORES).values()]
    grown = [(_peak(values), med(values[:3])) for values in calls if len(values) >= 2 * NEWEST]
    top, first = max(((top, first) for top, first in grown if top > GROWTH * first), default=(0.0, 0.0))
    if top <= limits.scores:
        return None
    return rewrites(
        Severity.WARNING,
        int(steps[0]),
        f"The first {len(ratios)} samples changed the weights by {usual:.1%} a step (limit {limits.harm:.0%}), and the "
        f"largest attention score went from {first:.3g} to {top:.3g}",
        {"update_ratio": usual, "score": top, "first_score": first},
        limits.harm,
    )


def _peak(values: Floats) -> float:
    """Gives the highest level: scores that came down after they had grown were as harmful as those that did not."""
    return float(np.max(np.median(np.lib.stride_tricks.sliding_window_view(values, NEWEST), axis=1)))
