"""Measures how fast the weights move: the median update ratio over the matrices, step by step, and its sum over a run.

Not for: judging; GW411 and GW412 look at the same numbers from both ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from server.domain.evidence import Window
from server.domain.kinds import Kind
from server.domain.series import Floats, Series, Steps, Track
from server.domain.statistics import all_finite, med, middles, window_size
from server.rules._layers import groups, learning_matrices, medians_over, optimizers


def update_series(window: Window) -> list[Series]:
    """Lists the update ratios of the matrices (of all parameters where the model's table is missing)."""
    updates = window.by_layer(Kind.PARAM_UPDATE_RATIO)
    return [updates[name] for name in window.lasting("names of updates", lambda: _names(window, updates))]


def _names(window: Window, updates: Mapping[str, Series]) -> list[str]:
    known = learning_matrices(window)
    if known or window.fact("model").get("parameters"):
        return [item.name for item in known if item.name in updates]
    return list(updates)


def medians(window: Window, *, tail: int | None = None, head: int | None = None) -> tuple[Steps, Floats]:
    """Gives the median update ratio over the matrices at each sampled step."""
    known = window.shared("update medians", lambda: _known_medians(update_series(window)))
    if known is None:
        return medians_over(update_series(window), tail=tail, head=head)
    steps, values = known.steps, known.values
    if head is not None:
        steps, values = steps[:head], values[:head]
    elif tail is not None:
        steps, values = steps[-tail:], values[-tail:]
    if all_finite(values):
        return steps, values
    kept = np.isfinite(values)
    return steps[kept], values[kept]


def _known_medians(items: list[Series]) -> Series | None:
    """Keeps the medians beside the first series as they grow; None where the series do not share their steps."""
    count = items[0].count if items else 0
    if not count or any(item.count != count for item in items):
        return None
    memo = items[0].track.memo
    known: Track = memo.setdefault(("medians", len(items), id(items[-1].track)), Track())
    fresh = known.size
    if fresh >= count:
        return Series(known, count)
    steps = items[0].steps[fresh:]
    if not bool((np.array([item.steps[fresh:] for item in items]) == steps).all()):
        return None
    table = np.array([item.values[fresh:] for item in items])
    good = np.isfinite(table)
    columns = range(table.shape[1])
    values = middles(table) if good.all() else np.array([med(table[:, column]) for column in columns])
    known.extend(steps, values)
    return Series(known, count)


def path_length(window: Window, steps: Steps, ratios: Floats) -> float:
    """Sums the update ratios over all steps, each sample standing for the steps up to the next one, and following the
    learning rate on the way: a sample of a warm-up says little of the steps after it.

    By the triangle inequality the weights cannot have moved further, relative to their size, than this.
    """
    if not len(steps):
        return 0.0
    ends = np.append(steps[1:], window.step + 1)
    widths = np.maximum(ends - steps, 0)
    growth = np.ones(len(steps))
    rates = [item for item in window.by_layer(Kind.LEARNING_RATE).values() if item.count]
    for series in rates:
        one = _mean_growth(series, steps, ends)
        growth = one if len(rates) == 1 else np.maximum(growth, one)  # of several groups the fastest counts
    return float(np.sum(widths * ratios * growth))


def _mean_growth(rate: Series, steps: Steps, ends: Steps) -> Floats:
    """Gives the mean of a rate from each sample to the next, in units of that at the sample; 1 where that is 0."""
    sums = np.concatenate([[0.0], np.cumsum(np.where(np.isfinite(rate.values), np.abs(rate.values), 0.0))])
    begin = np.searchsorted(rate.steps, steps)
    end = np.maximum(np.searchsorted(rate.steps, ends), begin + 1).clip(max=rate.count)
    begin = np.minimum(begin, rate.count - 1)
    own = np.abs(rate.values[begin])
    mean = (sums[end] - sums[begin]) / np.maximum(end - begin, 1)
    return np.where(own > 0, mean / np.where(own > 0, own, 1.0), 1.0)


def equilibrium(window: Window) -> float:
    """Gives the update ratio at which learning rate and weight decay balance, the largest of all groups.

    SGD with momentum: sqrt(2·lr·decay / (1 + momentum)); AdamW: sqrt(2·lr·decay·(1 - beta1) / (1 + beta1)). 0 without
    decay.
    """
    largest = 0.0
    several = len(optimizers(window)) > 1
    for optimizer in optimizers(window):
        for group in optimizer.get("groups") or ():
            prefix = f"{optimizer.get('name')}." if several else ""
            largest = max(largest, _balance(window, f"{prefix}{group.get('name')}", group))
    return largest


def _balance(window: Window, name: str, group: Mapping[str, Any]) -> float:
    series = window.series(f"lr/{name}")
    rate = series.last if series else group.get("lr")
    decay = group.get("weight_decay")
    if not rate or not decay or not math.isfinite(rate * decay):
        return 0.0
    betas = group.get("betas")
    if betas:
        return math.sqrt(2 * rate * decay * (1 - float(betas[0])) / (1 + float(betas[0])))
    return math.sqrt(2 * rate * decay / (1 + float(group.get("momentum") or 0.0)))


FEWEST_NORMS = 5
NO_GRADIENT = "every gradient that was measured is exactly 0, and decay is all that moves the weights"


def no_gradient_ever(window: Window) -> bool:
    """Says whether the loss gave no gradient at all, in none of the measured steps: what moves then is decay alone."""
    norms = window.series("grad_norm")
    return norms.count >= FEWEST_NORMS and not norms.values.any()


def guesses_gradients(window: Window) -> bool:
    """Says whether the loop sets its gradients itself, such as evolution does: what it guesses is mostly noise, and all
    its forwards are without gradients."""
    loop = window.fact("loop")
    return loop.get("backward") == 0 and int(loop.get("optimizer_step") or 0) > 0


def decay_shares(window: Window) -> dict[str, float]:
    """Gives, for each decayed matrix, the share of its updates that decay alone makes: of the newest ones, or over the
    run where the decay is part of the gradient that an adaptive optimizer rescales."""
    width = min(20, window_size(window.samples, window.planned))
    updates, gradients = window.by_layer(Kind.PARAM_UPDATE_RATIO), window.by_layer(Kind.PARAM_GRAD_NORM)
    weights = window.by_layer(Kind.PARAM_WEIGHT_NORM)
    known = {name: (kind, group) for name, kind, group in groups(window)}
    shares: dict[str, float] = {}
    for item in learning_matrices(window):
        series = updates.get(item.name)
        kind, group = known.get((item.groups or ("",))[0], ("", {}))
        decay = float(group.get("weight_decay") or 0.0)
        if series is None or not decay or series.count < 5:
            continue
        if kind in COUPLED:
            if not _decoupled(window, group) and item.name in gradients and item.name in weights:
                shares[item.name] = _pull(weights[item.name], gradients[item.name], decay)
            continue
        rates = window.series(f"lr/{(item.groups or ('',))[0]}")
        rate = rates.last if rates else float(group.get("lr") or 0.0)
        move = med(series.tail(width))
        factor = 1 / max(1 - float(group.get("momentum") or 0.0), 1e-3)
        if move > 0 and kind in ("SGD", "AdamW"):
            shares[item.name] = rate * decay * (factor if kind == "SGD" else 1.0) / move
    return shares


def shrunk(window: Window, names: Iterable[str]) -> float:
    """Says how much smaller the weights are than at their start, in the median."""
    norms = [window.series(f"weight_norm/{name}") for name in names]
    ratios = [item.last / float(item.values[0]) for item in norms if item and item.values[0] > 0]
    return 1 - float(np.median(ratios)) if ratios else 0.0


EARLY = 20  # samples
COUPLED = ("Adam", "Adamax", "Adagrad", "RMSprop")  # their weight_decay is added to the gradient


def early_pulls(window: Window) -> dict[str, float]:
    """Gives, for each matrix whose decay is part of the gradient, the penalty's share of it in the first samples."""
    gradients, weights = window.by_layer(Kind.PARAM_GRAD_NORM), window.by_layer(Kind.PARAM_WEIGHT_NORM)
    known = {name: (kind, group) for name, kind, group in groups(window)}
    shares: dict[str, float] = {}
    for item in learning_matrices(window):
        kind, group = known.get((item.groups or ("",))[0], ("", {}))
        decay = float(group.get("weight_decay") or 0.0)
        if not decay or kind not in (*COUPLED, "SGD") or _decoupled(window, group):
            continue
        if item.name in gradients and item.name in weights and weights[item.name].count >= EARLY:
            shares[item.name] = _pull(weights[item.name], gradients[item.name], decay, head=EARLY)
    return shares


def _decoupled(window: Window, group: Mapping[str, Any]) -> bool:
    owner = next((item for item in optimizers(window) if group in (item.get("groups") or ())), {})
    return bool((owner.get("arguments") or {}).get("decoupled_weight_decay"))


def _pull(weights: Series, gradients: Series, decay: float, head: int | None = None) -> float:
    """Gives the median share of the penalty in the gradient, over the steps in which both were measured (the first)."""
    _, at, other = np.intersect1d(weights.steps[:head], gradients.steps[:head], return_indices=True)
    pull = decay * weights.values[at]
    return med(pull / np.maximum(pull + gradients.values[other], 1e-30)) if len(at) else 0.0
