"""Reads the fact `batchnorm`. Not for: judging; GW403, GW431, GW433 and GW434 do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.domain.evidence import Window


@dataclass(frozen=True)
class NormLayer:
    """What one batch norm has shown (client_hook/capture/FACTS.md explains each)."""

    values: int
    batch: int
    samples: int
    frozen: int
    unmoved: int
    calls: int
    gap: float | None
    eval_gap: float | None
    eval_samples: int
    eval_values: int
    eval_step: int | None
    distances: tuple[float, ...]


def norm_layers(window: Window) -> dict[str, NormLayer]:
    """Gives the batch norms by name; empty while none was seen."""
    layers = window.fact("batchnorm").get("layers")
    if not isinstance(layers, Mapping):
        return {}
    return {str(name): _read(item) for name, item in layers.items() if isinstance(item, Mapping)}


def _read(item: Mapping[str, Any]) -> NormLayer:
    whole = {
        key: int(item.get(key) or 0)
        for key in ("values", "batch", "samples", "frozen", "unmoved", "calls", "eval_samples", "eval_values")
    }
    distances = tuple(float(value) for value in item.get("distances") or () if isinstance(value, (int, float)))
    step = item.get("eval_step")
    return NormLayer(
        **whole,
        gap=_number(item.get("gap")),
        eval_gap=_number(item.get("eval_gap")),
        eval_step=int(step) if isinstance(step, (int, float)) else None,
        distances=distances,
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
