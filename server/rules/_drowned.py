"""Finds a part of the loss that another one drowned from the start: it is not learned, and the other one is (a part of
GW210).

Not for: parts that are small all the time (multi_loss_scale).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Severity, Verdict
from server.domain.series import Series
from server.domain.statistics import med
from server.rules._layers import parameters
from server.rules._loss_call import CROSS_ENTROPIES
from server.rules._say import is_penalty, percent, say
from server.rules._validation import evaluations
from server.rules.base import Stage

OUTSET, FEWEST = 20, 60  # values; of fewer in all, a start and an end say little
WEIGHTED = 0.2  # medians of parts do not add up exactly
ADDS_UP = 1e-3  # of a loss: rounding
LEARNED = 0.95  # of the first values
FELL = 0.5  # of the first values
NEAR = 10.0  # times: what validation measures has the size of the small part
CHANCE = 0.15  # of ln C: where a guess between C classes begins
SYMPTOMS = ("GW307", "GW411", "GW205", "GW207", "GW208", "GW421", "GW801", "GW109", "GW415")
YES_OR_NO = {"binary_cross_entropy", "binary_cross_entropy_with_logits"}
BY_CLASS = CROSS_ENTROPIES | YES_OR_NO


def drowned(window: Window, parts: Mapping[str, Series], limit: float) -> Verdict | None:
    """Judges at the end, by what the parts are in the loss; those below 0 are likelihoods or rewards, of which a share
    says nothing."""
    if not window.final or any(series.count < FEWEST for series in parts.values()):
        return None
    first = {name: med(series.values[:OUTSET]) for name, series in parts.items()}
    last = {name: med(series.tail(OUTSET)) for name, series in parts.items()}
    if not all(np.isfinite(value) and value >= 0 for value in (*first.values(), *last.values())):
        return None
    weights = _weights(window, parts, first)
    if weights is None:
        return None
    shares = {name: weights[name] * value for name, value in first.items()}
    total, most = sum(shares.values()), max(shares, key=lambda name: shares[name])
    small = [name for name in first if 0 < shares[name] < limit * total and not is_penalty(name)]
    if not small or last[most] > FELL * first[most]:
        return None
    for name in small:
        unlearned = last[name] > LEARNED * first[name] and _is_validated(window, shares[name], shares[most])
        if unlearned or _begins_as_a_guess(window, first[name]):
            return _verdict(name, most, first, last, shares[name] / total, limit * total / weights[name], unlearned)
    return None


def _weights(window: Window, parts: Mapping[str, Series], first: Mapping[str, float]) -> dict[str, float] | None:
    """Gives what the parts are multiplied by in the loss: 1 where they add up to it, else the numbers for which their
    sum is the loss of every step; None where there are no such numbers."""
    total = sum(first.values())
    if abs(med(window.loss.values[:OUTSET]) - total) <= WEIGHTED * total:
        return dict.fromkeys(first, 1.0)
    steps = reduce(np.intersect1d, (series.steps for series in parts.values()), window.loss.steps)[:FEWEST]
    losses, *columns = (
        series.values[np.searchsorted(series.steps, steps)] for series in (window.loss, *parts.values())
    )
    table = np.stack(columns, 1)
    if len(steps) < OUTSET or not np.isfinite(table).all() or not np.isfinite(losses).all():
        return None
    found = np.linalg.lstsq(table, losses, rcond=None)[0]
    exact = np.allclose(table @ found, losses, rtol=ADDS_UP, atol=0)
    return dict(zip(first, map(float, found), strict=True)) if exact and (found > 0).all() else None


def _is_validated(window: Window, small: float, large: float) -> bool:
    """Says whether a validation loss measures the small part, by its size, and got no better."""
    found = evaluations(window)
    if found is None or len(found) < 3:
        return False
    start, end = float(found.values[0]), med(found.values[-3:])
    return small / NEAR < start < min(small * NEAR, large / NEAR) and end > LEARNED * start


def _begins_as_a_guess(window: Window, value: float) -> bool:
    """Says whether a part begins where a guess between as many classes as a layer has outputs would."""
    functions = window.fact("loss_call").get("functions")
    if not isinstance(functions, Mapping) or not BY_CLASS.intersection(functions):
        return False
    sizes = {item.shape[0] for item in parameters(window) if len(item.shape) == 2}
    sizes |= {2} if YES_OR_NO.intersection(functions) else set()
    return any(abs(value - math.log(max(size, 2))) < CHANCE * math.log(max(size, 2)) for size in sizes)


def _verdict(
    name: str, most: str, first: Mapping[str, float], last: Mapping[str, float], share: float, limit: float,
    unlearned: bool,
) -> Verdict:  # fmt: skip
    became = f"`{most}` fell from {first[most]:.3g} to {last[most]:.3g}"
    what = (
        f"and nothing of it was learned ({first[name]:.3g} at first, {last[name]:.3g} at the end), while {became}"
        if unlearned
        else f"so as long as {became}, that is what the weights followed"
    )
    return say(
        Severity.WARNING if unlearned else Severity.INFO,
        f"Part `{name}` of the loss begins as {percent(share)} of all parts, {what}",
        f"Weight `{most}` down until the gradients of both parts on a shared layer are of the same order: a mean in "
        "place of a sum, targets in units near 1, a term of the whole data set divided by the number of batches.",
        numbers={"smallest": first[name], "largest": first[most], "share": share, "now": last[name]},
        series=(f"loss/{name}", f"loss/{most}"),
        limit=limit,
        at_once=True,
        stage=Stage.OUTPUT if unlearned else None,
        explains=SYMPTOMS if unlearned else (),
    )
