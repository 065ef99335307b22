"""Judges how much of the gradient of a recurrent layer is left at the beginning of its sequences (a part of GW306).

Not for: depth (vanishing_gradient).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med, window_size
from server.rules._layers import layers
from server.rules._progress import stuck

FEWEST = 5  # samples
NOTHING = 1e-300  # what underflowed on its way, so that it has a ratio


def ratios_through_time(window: Window) -> dict[str, float]:
    """Gives, by recurrent layer, the median gradient at the first tenth of the time over that at the last."""
    first, last = window.by_layer(Kind.GRAD_TIME_FIRST), window.by_layer(Kind.GRAD_TIME_LAST)
    width = window_size(window.samples, window.planned)
    found = {}
    for layer, ends in last.items():
        start, end = first[layer].tail(width), ends.tail(width)
        usable = np.isfinite(start) & np.isfinite(end) & (end > 0)
        if usable.sum() >= FEWEST:
            found[layer] = med(np.maximum(start[usable], NOTHING) / end[usable])
    return found


def judge_time(window: Window, ratios: Mapping[str, float], limit: float) -> Verdict | None:
    """Judges the worst layer: one that vanishes counts while the loss is stuck, one that explodes is told anyway,
    but of a layer that reads both ways: behind the end of short texts it hands on a little of what comes before."""
    layer = max(ratios, key=lambda name: abs(np.log(ratios[name])))
    ratio = ratios[layer]
    still = bool(stuck(window))
    if ratio < limit and still:
        return _verdict(window, layer, ratio, limit, Severity.WARNING)
    if ratio > 1 / limit and (still or not _reads_both_ways(window, layer)):
        return _verdict(window, layer, ratio, 1 / limit, Severity.WARNING if still else Severity.INFO)
    return None


def _reads_both_ways(window: Window, name: str) -> bool:
    table = (item for item in layers(window) if item.get("name") == name)
    return any((item.get("arguments") or {}).get("bidirectional") for item in table)


def _verdict(window: Window, layer: str, ratio: float, limit: float, severity: Severity) -> Verdict:
    vanishes = ratio < 1
    names = (f"{Kind.GRAD_TIME_FIRST.value}{layer}", f"{Kind.GRAD_TIME_LAST.value}{layer}")
    first = window.series(names[0])
    width = window_size(window.samples, window.planned)
    stands = ", and the loss does not fall" if severity is Severity.WARNING else ""
    return Verdict(
        severity=severity,
        first_step=int(first.steps[max(0, first.count - width)]),
        message=(
            f"Gradients {'vanish' if vanishes else 'explode'} on the way back through time: in `{layer}` the first "
            f"tenth of the time steps gets {'nothing' if ratio <= NOTHING / limit else f'{ratio:.1e}'} of what the "
            f"last gets (limit {limit:g}){stands}"
        ),
        advice=(
            f"Make `{layer}` an nn.LSTM with a forget bias of 1 or an nn.GRU, start its recurrent matrix with "
            "nn.init.orthogonal_, cut the sequences shorter, or pool over all outputs instead of taking the last one."
            if vanishes
            else "Clip with nn.utils.clip_grad_norm_(model.parameters(), 1.0), start the recurrent matrix of "
            f"`{layer}` with nn.init.orthogonal_, and lower the learning rate."
        ),
        layers=(layer,),
        evidence=Evidence(numbers={"first_over_last": ratio, "samples": first.count}, series=names, limit=limit),
    )
