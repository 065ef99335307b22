"""Notices a loss that jumped or is no number any more, in a microsecond, so that the next steps are measured in full.

Not for: judging a training: that is the server's work, with more care and better evidence.
"""

from __future__ import annotations

WARM_UP = 20
RATE = 0.05
JUMP = 8.0  # mean distances from the running mean


class LossWatch:
    """Follows the running mean of the loss and of its distance from it."""

    def __init__(self) -> None:
        self._seen = 0
        self._mean = 0.0
        self._distance = 0.0
        self._was_finite = True

    @property
    def bound(self) -> float:
        """Gives the loss up to which `look` would find nothing odd now."""
        if self._seen <= WARM_UP or not self._was_finite:
            return float("-inf")
        return self._mean + max(JUMP * self._distance, 1e-3 * abs(self._mean))

    def look(self, loss: float) -> str | None:
        """Takes the loss of a step; returns what is odd about it, the first time."""
        if loss - loss != 0.0:  # not finite
            first, self._was_finite = self._was_finite, False
            return "nonfinite-loss" if first else None
        self._was_finite = True
        off = loss - self._mean
        distance = self._distance
        if self._seen <= WARM_UP:
            self._seen += 1
            rate = max(RATE, 1.0 / self._seen)
            jumped = False
        else:
            rate = RATE
            jumped = off > JUMP * distance and off > 1e-3 * abs(self._mean)
        self._mean += rate * off
        self._distance = distance + rate * ((off if off > 0.0 else -off) - distance)
        return "loss-spike" if jumped else None
