"""Keeps what a scheduler that waits for a metric (ReduceLROnPlateau) was told, and how often it cut the rate.

Not for: whether it waits for the right thing; the server knows the metrics by name.
"""

from __future__ import annotations

from typing import Any

from client_hook.guard import quietly

MAX_TOLD = 200  # values, the newest


class Plateau:
    """Follows one such scheduler."""

    def __init__(self, scheduler: Any) -> None:
        self._mode = str(getattr(scheduler, "mode", ""))
        self._told: list[float] = []
        self._first: float | None = None
        self._calls = 0
        self._rates: list[float] | None = None
        self.cuts = 0

    def hear(self, scheduler: Any, metric: Any) -> None:
        """Takes a value that it was told; it has read it itself just before, so that nothing waits here."""
        value = quietly(float, metric)
        if not isinstance(value, float):
            return
        self._calls += 1
        if self._first is None:
            self._first = value
        self._told = [*self._told[1 - MAX_TOLD :], value]
        rates = [quietly(float, rate, default=0.0) for rate in getattr(scheduler, "_last_lr", ())]
        if self._rates is not None and any(now < then for now, then in zip(rates, self._rates, strict=False)):
            self.cuts += 1
        self._rates = rates

    def fact(self) -> dict[str, Any]:
        """Makes the key `plateau` of a scheduler."""
        return {
            "mode": self._mode,
            "calls": self._calls,
            "cuts": self.cuts,
            "first": self._first,
            "told": list(self._told),
        }
