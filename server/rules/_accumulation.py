"""Recognises an accumulation whose optimizer steps after every micro-batch, by how often gradients are cleared: a part
of gradient-accumulation-wrong, which missing-zero-grad leaves to it.

Not for: gradients that are cleared too often (gradient_accumulation_wrong).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from server.domain.evidence import Window
from server.rules._layers import optimizers

WHOLE = 0.02  # relative: 1/K is the divisor of K micro-batches
WINDOWS = 3  # of K steps, then a rhythm shows
NEAR = 0.5  # of one step in K: how far the share may lie from (K - 1)/K


@dataclass(frozen=True)
class Piecemeal:
    """An accumulation over `many` micro-batches, each with a step of its own; in `missing` of `checked` steps nothing
    had cleared the gradients. `sure` says whether enough steps were seen."""

    many: int
    missing: int
    checked: int

    @property
    def sure(self) -> bool:
        """Says whether all but every K-th step began with the gradients of the one before."""
        expected = (self.many - 1) / self.many
        enough = self.checked >= WINDOWS * self.many
        return enough and abs(self.missing / self.checked - expected) <= NEAR / self.many


def piecemeal(window: Window) -> Piecemeal | None:
    """Reads from the fact `loop` that each step follows one backward of a loss that is divided by K; None otherwise."""
    loop = window.fact("loop")
    accumulation = loop.get("accumulation")
    known = accumulation.get("factor") if isinstance(accumulation, Mapping) else None
    if not isinstance(known, (list, tuple)) or len(known) != 2 or known[0] != 1 or len(optimizers(window)) > 1:
        return None
    factor = known[1]
    if not isinstance(factor, (int, float)) or not 0 < factor < 1:
        return None
    many = round(1 / factor)
    if many < 2 or abs(1 / factor - many) > WHOLE * many:
        return None
    return Piecemeal(many, int(loop.get("zero_grad_missing") or 0), int(loop.get("zero_grad_checked") or 0))
