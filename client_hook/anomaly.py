"""Notices a loss that jumped or is no number any more, in a microsecond, so that the next steps are measured in full.

Not for: judging a training: that is the server's work, with more care and better evidence.
"""

from __future__ import annotations

from collections.abc import Sequence

WARM_UP = 20
RATE = 0.05
JUMP = 8.0  # mean distances from the running mean


class LossWatch:
    """Follows the running mean of the loss and of its distance from it."""

    def __init__(self) -> None:
        self._seen = 0
        self._mean = 0.0
        self._distance = 0.0
        self._least = 0.0  # a jump below is what float32 rounds off the losses of the beginning
        self.was_finite = True

    @property
    def bound(self) -> float:
        """Gives the loss up to which `look` would find nothing odd now."""
        if self._seen <= WARM_UP or not self.was_finite:
            return float("-inf")
        return self._mean + max(JUMP * self._distance, 1e-3 * abs(self._mean), self._least)

    def look(self, loss: float) -> str | None:
        """Takes the loss of a step; returns what is odd about it, the first time."""
        odd = self.look_at((loss,))
        return odd[0][2] if odd else None

    def look_at(self, losses: Sequence[float | None]) -> list[tuple[int, float, str]]:
        """Takes the losses of several steps, None where nobody knows it; gives the odd ones: which, how much, and what
        is odd."""
        odd = []
        mean, distance = self._mean, self._distance
        for index, loss in enumerate(losses):
            if loss is None:
                continue
            if loss - loss != 0.0:  # not finite
                if self.was_finite:
                    odd.append((index, loss, "nonfinite-loss"))
                self.was_finite = False
                continue
            self.was_finite = True
            off = loss - mean
            rate = RATE
            if self._seen <= WARM_UP:
                self._seen += 1
                rate = max(RATE, 1.0 / self._seen)
                self._least = 1e-6 * abs(mean)
            elif off > JUMP * distance and off > 1e-3 * abs(mean) and off > self._least:
                odd.append((index, loss, "loss-spike"))
            mean += rate * off
            distance += rate * ((off if off > 0.0 else -off) - distance)
        self._mean, self._distance = mean, distance
        return odd
