"""Looks for steps that are too large after the start: one that rewrote the weights, or a whole window of them. Not for:
the first steps (_early_rate)."""

from __future__ import annotations

import math

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Severity, Verdict
from server.domain.statistics import finite, med, median_error, window_size
from server.rules._progress import SMALLEST_GAIN, SURE_ERRORS, loss_quarters
from server.rules._rate_limits import AFTER, ANSWERS, START, RateLimits, rewrites
from server.rules._rates import equilibrium, guesses_gradients, medians
from server.rules._spikes import marks, norms

RECENT = 40  # newest samples in which a single step that rewrote the weights is looked for
SWINGS = frozenset({"GW207", "GW208"})


def late_blow(window: Window, limits: RateLimits) -> Verdict | None:
    """Finds a single step, after the start, that rewrote the weights and was answered by the loss at once."""
    steps, ratios = medians(window, tail=RECENT)
    losses, at = window.loss.values, window.loss.steps
    for index in np.flatnonzero(ratios >= limits.rewrite):
        step, ratio = steps[index], ratios[index]
        begin = int(np.searchsorted(at, step, side="right"))
        if begin < 3 * START:
            continue
        level = med(losses[max(0, begin - 5 * START) : max(1, begin - 3)])
        answer = level + (limits.loss_answer - 1) * abs(level)
        after = losses[begin : begin + AFTER]
        if int(np.count_nonzero(~(after <= answer))) >= ANSWERS:
            peak = "non-finite" if not np.isfinite(after).all() else f"{float(np.max(after)):.4g}"
            return rewrites(
                Severity.ERROR,
                int(step),
                f"Step {step} changed the weights by {ratio:.0%} (median over the layers, limit "
                f"{limits.rewrite:.0%}), and the loss went from {level:.4g} to {peak}",
                {"update_ratio": float(ratio), "loss_before": level},
                limits.rewrite,
            )
    return None


def late(window: Window, limits: RateLimits) -> Verdict | None:
    """Finds a window of steps that rewrite the weights while the loss gains nothing by them, or swings."""
    if window.gates.warm_up or window.gates.lr_changed or window.gates.late or guesses_gradients(window):
        return None
    width = window_size(window.samples, window.planned)
    steps, ratios = medians(window, tail=width)
    if len(ratios) < min(limits.late_samples, width):
        return None
    balance = equilibrium(window)
    limit = max(limits.late, limits.equilibria * balance)
    needed = min(limits.late_samples, max(1, width // 2))
    over = ratios > limit
    usual = med(ratios)
    if int(np.count_nonzero(over)) >= needed and not _at_floor(window, limits) and not _gains(window, int(steps[0])):
        return rewrites(
            Severity.WARNING,
            int(steps[over][0]),
            f"{int(np.count_nonzero(over))} of the last {len(ratios)} samples changed the weights by more than "
            f"{limit:.2g} of their size a step (median {usual:.2g})",
            {"update_ratio": usual, "equilibrium": balance, "samples_over": int(np.count_nonzero(over))},
            limit,
        )
    if usual > limits.harm and not window.gates.moving_target:
        name, series = norms(window)
        jumps = len(marks(window, series)) if series else 0
        swings = sorted(SWINGS & window.open_codes)
        if swings or jumps >= limits.marks:
            seen = "the loss swings or diverges" if swings else f"the gradient norm jumped {jumps} times ({name})"
            return rewrites(
                Severity.WARNING,
                int(steps[0]),
                f"A step changes the weights by {usual:.1%} (median over the layers, limit {limits.harm:.0%}), and "
                f"{seen}",
                {"update_ratio": usual, "equilibrium": balance, "jumps": jumps},
                limits.harm,
            )
    return None


def _gains(window: Window, since: int) -> bool:
    """Says whether the newest losses are surely below those before, of all since a step: then weights that grow are no
    harm."""
    losses = finite(window.loss.values[window.loss.steps >= since])
    before, now = losses[: len(losses) // 2], losses[len(losses) // 2 :]
    if len(losses) < START:
        return False
    error = SURE_ERRORS * math.hypot(median_error(before), median_error(now))
    return med(before) - med(now) > max(error, SMALLEST_GAIN * abs(med(before)))


def _at_floor(window: Window, limits: RateLimits) -> bool:
    parts = loss_quarters(window)
    return parts is not None and abs(med(window.loss.tail(START))) <= limits.floor * abs(parts.start)
