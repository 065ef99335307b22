"""Counts steps: tells from the calls of `monitor.step` and from the optimizers when a training step is complete.

Not for: what happens when one closes (client_hook.monitor).
"""

from __future__ import annotations

from collections.abc import Sequence

CALLS_WITHOUT_OPTIMIZER = 32
# calls without a step of the optimizer, and how many times as many as ever before: then it steps no more
ENDLESS, ENDLESS_TIMES = 128, 8


class StepCounter:
    """Decides which call of `monitor.step` closes a step and which is a micro-batch of the open one.

    A call closes a step when a watched optimizer stepped, or a gradient scaler made it skip, since the last call. A
    loop in which no optimizer is ever seen still has steps: after 32 calls without one, every call closes a step until
    one comes, unless gradients are being added up; from the first call on where the weights move all the same; so it is
    where the watched one was given up for another that nobody watches.
    """

    __slots__ = (
        "_closed",
        "_heard",
        "abandoned",
        "calls",
        "micro_batches",
        "most_calls",
        "optimizer_seen",
        "optimizer_steps",
        "rate",
        "stepped",
        "stretch",
    )

    def __init__(self, closed: int = -1) -> None:
        self.calls = 0
        self._closed = closed
        self.stretch: Sequence[object] = ()  # steps that closed since, each by being put there (client_hook.plain)
        self.micro_batches = 0  # calls that belong to the open step
        self.stepped = False  # an optimizer stepped, or was skipped, since the last call
        self.optimizer_seen = False
        self.abandoned = False  # the optimizer stepped, and steps no more
        self._heard = 0  # calls that belong to the step of the last one; one that closes a plain step is not heard
        self.most_calls = 0  # of any step before
        self.optimizer_steps = 0  # calls of any watched optimizer's step()
        self.rate: float | None = None  # of the one group of the one optimizer at its last step, in plain steps

    @property
    def closed(self) -> int:
        """Gives the number of the last closed step."""
        return self._closed + len(self.stretch)

    @closed.setter
    def closed(self, step: int) -> None:
        self._closed = step - len(self.stretch)

    def end_stretch(self) -> None:
        """Counts the steps of a stretch, to which no more will come."""
        self._closed, self.stretch = self.closed, ()

    @property
    def may_wait(self) -> bool:
        """Says whether calls are held until an optimizer steps that never stepped before."""
        return not self.optimizer_seen and not self.stepped and self.calls < CALLS_WITHOUT_OPTIMIZER

    def wait_no_more(self) -> None:
        """Counts by calls from here on, until an optimizer steps."""
        self.calls = CALLS_WITHOUT_OPTIMIZER

    def optimizer_stepped(self) -> None:
        """Hears that a watched optimizer stepped, or that a scaler skipped its step."""
        self.stepped = True
        self.optimizer_seen = True

    def call(self, *, accumulates: bool = False) -> bool:
        """Counts a call of `monitor.step`; True when it closes the open step. `accumulates`: gradients are added up,
        and no optimizer has stepped yet."""
        self.calls += 1
        self.micro_batches += 1
        if self.micro_batches == 1:
            self.most_calls = max(self.most_calls, self._heard)
        self._heard = self.micro_batches
        if self.optimizer_seen and not self.stepped and self._heard >= max(ENDLESS, ENDLESS_TIMES * self.most_calls):
            self.lose_optimizer()
        enough = self.calls >= CALLS_WITHOUT_OPTIMIZER and not accumulates
        return self.stepped or (not self.optimizer_seen and enough)

    def lose_optimizer(self) -> None:
        """Counts by calls from here on, until an optimizer steps again."""
        self.abandoned, self.optimizer_seen, self.calls = True, False, CALLS_WITHOUT_OPTIMIZER

    def close(self) -> int:
        """Closes the open step and returns its number."""
        self.closed += 1
        self.micro_batches = 0
        self.stepped = False
        return self.closed
