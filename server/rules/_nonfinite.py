"""Looks for NaN and infinities: where a series has them, what came before, and which layers had them first.

Not for: judging; GW601, GW602 and GW603 share these looks so that they name the same step and the same layer.
"""

from __future__ import annotations

import math

import numpy as np

from server.domain.evidence import Window
from server.domain.kinds import Kind
from server.domain.series import Series
from server.rules._layers import layers

LAST = 1_000_000_000  # sorts layers whose place in the forward is not known behind the others


def recent_bad(series: Series, recent: int) -> int | None:
    """Gives the index at which the oldest stretch of non-finite values among the newest `recent` began, if any."""
    start = max(0, series.count - recent)
    bad = np.flatnonzero(~np.isfinite(series.values[start:]))
    if not len(bad):
        return None
    first = start + int(bad[0])
    if first > start:
        return first
    earlier = np.flatnonzero(np.isfinite(series.values[:first]))
    return int(earlier[-1]) + 1 if len(earlier) else 0


def broken_since(series: Series, step: int) -> int | None:
    """Gives the first step of the unbroken stretch of non-finite values that ends at `step`; None if it is finite."""
    end = int(np.searchsorted(series.steps, step, side="right"))
    if not end or int(series.steps[end - 1]) != step or math.isfinite(float(series.values[end - 1])):
        return None
    good = np.flatnonzero(np.isfinite(series.values[:end]))
    return int(series.steps[int(good[-1]) + 1 if len(good) else 0])


def kind_of(value: float) -> str:
    """Names a non-finite value."""
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def last_finite(series: Series, before: int) -> float | None:
    """Gives the newest finite value at a step before `before`; None where there is none."""
    end = int(np.searchsorted(series.steps, before))
    values = series.values[max(0, end - 1000) : end]
    kept = values[np.isfinite(values)]
    return float(kept[-1]) if len(kept) else None


def scaler_active(window: Window) -> bool:
    """Says whether a GradScaler guards the optimizer."""
    return bool(window.series("scaler/scale")) or bool(window.fact("scaler").get("enabled"))


def call_order(window: Window) -> dict[str, int]:
    """Maps layers to their place in the first forward."""
    return {
        str(layer.get("name")): LAST if layer.get("order") is None else int(layer["order"]) for layer in layers(window)
    }


def bad_layers(window: Window, upto: int) -> list[str]:
    """Lists layers that had a non-finite output up to a step, by the first step, then in the order of the forward."""
    order = call_order(window)
    found = []
    for layer, series in window.by_layer(Kind.ACT_NONFINITE).items():
        step = first_positive(series)
        if step is not None and step <= upto:
            found.append((step, order.get(layer, LAST), layer))
    return [layer for _, _, layer in sorted(found)]


def first_positive(series: Series) -> int | None:
    """Gives the first step at which a count or share is above zero or not finite; None if there is none.

    What was looked at is remembered on the track: a long run is not read again at every sample.
    """
    memo = series.track.memo.setdefault("first positive", {"seen": 0, "at": None})
    values = series.track.values
    if memo["at"] is None and memo["seen"] < len(values):
        fresh = values[memo["seen"] :]
        bad = np.flatnonzero((fresh > 0) | ~np.isfinite(fresh))
        if len(bad):
            memo["at"] = memo["seen"] + int(bad[0])
        memo["seen"] = len(values)
    at = memo["at"]
    return int(series.track.steps[at]) if at is not None and at < series.count else None


def value_at(series: Series, step: int) -> float | None:
    """Gives the value at exactly this step; None if it was not measured then."""
    index = int(np.searchsorted(series.steps, step))
    return float(series.values[index]) if index < series.count and series.steps[index] == step else None
