"""Tells what a loop does that closes no step, so that a long evaluation is no hang: the fact `waiting`.

It is looked at from the outbox's thread. Not for: the sign of life of that thread (courier).
"""

from __future__ import annotations

import weakref
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client_hook.capture.base import Context

AFTER_S = 30.0


class Waiting:
    """Says what changed at most every 30 s: evaluating, saving, batches drawn."""

    def __init__(self, context: Context) -> None:
        self._context = weakref.ref(context)
        self._told: tuple[Any, ...] = (None,)
        self._at = 0.0

    def look(self) -> None:
        """Compares the loop with what was told."""
        context = self._context()
        if context is None:
            return
        now = monotonic()
        evaluates = not all(model.training for model in context.models.values())
        doing = "saving" if context.patches.saving else "evaluation" if evaluates else None
        state = (context.step, doing, context.batches + context.micro_batches)
        if state[0] != self._told[0]:
            self._told, self._at = state[:1], now
        elif state != self._told and now - self._at >= AFTER_S:
            self._told, self._at = state, now
            told = dict(zip(("step", "doing", "batches"), state, strict=True))
            context.outbox.record("fact", "waiting", context.step, told)
