"""Closes plain steps, those that nobody measures: one row with what the loop computed anyway, and nothing else.

After a training step every line of Python takes ten times as long as in a row, so this is one function that calls few
others. Not for: choosing which steps are plain (client_hook.recorder).
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, time_ns
from typing import Any

import torch
from torch import Tensor

from client_hook.anomaly import LossWatch
from client_hook.capture.base import Context
from client_hook.capture.loss import EXACT_LOSS, PLAIN_LOSS, LossSignal
from client_hook.governor import Governor
from client_hook.rows import Parts
from client_hook.steps import StepCounter

HEARD_AGAIN_AFTER = 256  # plain steps: then one is heard, though not measured
OUTSIDE_S = 6e-6  # what the wrappers and the optimizer's hooks take, which do not time themselves in plain steps
_DOUBLE = torch.float64

Closer = Callable[[int, Parts], None]


class PlainSteps:
    """Takes over from the recorder for a stretch of plain steps."""

    __slots__ = (
        "_closers",
        "_context",
        "_counter",
        "_governor",
        "_look",
        "_loss",
        "_odd",
        "_reading",
        "closed_at",
        "failed",
        "left",
    )

    def __init__(
        self,
        context: Context,
        counter: StepCounter,
        governor: Governor,
        watch: LossWatch,
        loss: LossSignal,
        odd: Callable[[str, int, float], None],
    ) -> None:
        self._context = context
        self._counter = counter
        self._governor = governor
        self._look = watch.look
        self._loss = loss
        self._odd = odd
        self._reading = context.readback.waiting
        self._closers: list[Closer] = []
        self.closed_at = 0.0
        self.left = 0
        self.failed = False  # a call of `close` raised

    def begin(self, closers: list[Closer], closed_at: float) -> None:
        """Starts a stretch; `closers` add to the row of each step."""
        self._closers = closers
        self.closed_at = closed_at
        self.left = HEARD_AGAIN_AFTER

    def close(self, loss: Any, components: dict[str, Any], began: float) -> bool:
        """Closes one step; True = measure the next."""
        context, counter = self._context, self._counter
        self.failed = True  # unless this comes to its end
        context.closed_at = began
        counter.calls += 1
        counter.stepped = False
        step = context.step = counter.closed = counter.closed + 1
        parts: Parts = []
        value: Any = None
        if not components and not counter.micro_batches:
            if type(loss) is Tensor:
                if loss.is_cpu and loss.ndim == 0 and type(number := loss.item()) is float:
                    value = number
                    parts += (EXACT_LOSS if loss.dtype is _DOUBLE else PLAIN_LOSS, (value,))
            elif type(loss) is float:
                value = loss
                parts += (EXACT_LOSS, (value,))
        if value is None:  # micro-batches, components, on a device, or no number at all
            counter.micro_batches = 0
            self._loss.take(loss, components)
            self._loss.plain_close(step, parts)
            value = self._loss.last
        else:
            self._loss.last = value
        for close in self._closers:
            close(step, parts)
        outbox = context.outbox
        outbox.put_parts(step, time_ns() // 1_000_000, parts)
        reading = context.readback.flush() if self._reading else None
        outbox.complete(step if reading is None else reading - 1)
        if value is not None and (kind := self._look(value)) is not None:
            self._odd(kind, step, value)
        elapsed = began - self.closed_at
        self.closed_at = began
        spent = context.spent_s + (perf_counter() - began) + OUTSIDE_S
        context.spent_s = 0.0
        self.left -= 1
        self.failed = False
        return self._governor.plain_step(elapsed, spent)
