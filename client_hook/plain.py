"""Closes plain steps, those that nobody measures: one row with what the loop computed anyway, and nothing else.

After a training step every call of Python takes ten times as long as in a row (3 µs), because code and data have left
the caches. So this is one function that calls few others, touches few objects and leaves the accounts to every
sixteenth step. Not for: choosing which steps are plain (client_hook.recorder).
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from client_hook.capture.base import overrides
from client_hook.capture.learning_rate import LearningRateSignal
from client_hook.capture.loss import EXACT_LOSS, LOSS, PLAIN_LOSS, LossSignal
from client_hook.capture.timing import STEP_TIME, TimingSignal
from client_hook.guard import Guard
from client_hook.rows import Parts

if TYPE_CHECKING:
    from client_hook.recorder import Recorder

HEARD_AGAIN_AFTER = 128  # plain steps: then two are heard, though not measured; half as often where that is dear
# what the wrappers and the optimizer's hooks take, which do not time themselves in plain steps, to what is timed here:
# 1.1 to 1.5 in five models where the backward is heard, less where the loss functions alone are (benchmarks.overhead)
OUTSIDE, OUTSIDE_ALONE = 1.3, 1.1
OUTSIDE_DEVICE = 0.2  # where losses come from a device: 0.09 to 0.16, since the copy of the loss is timed here
LOOK_AT_ARRIVED_AFTER = 16  # steps, where losses come from a device: nobody knows of an odd one earlier
_DOUBLE = torch.float64
_FLOATS = frozenset({torch.float32, torch.bfloat16, torch.float16})
_KNOWN = (LossSignal, TimingSignal, LearningRateSignal)  # what they would add is added here

Closer = Callable[[int, Parts], None]


class PlainSteps:
    """Takes over `step` from the recorder for a stretch of plain steps."""

    __slots__ = (
        "_account_at",
        "_bound",
        "_closers",
        "_context",
        "_counter",
        "_failed",
        "_fresh",
        "_gathering",
        "_left",
        "_loss",
        "_put",
        "_rates",
        "_readback",
        "_reading",
        "_recorder",
        "_spent_s",
        "_timing",
        "_usual",
        "closed_at",
        "rate_label",
        "rates",
        "settled_at",
    )

    def __init__(self, recorder: Recorder, loss: LossSignal) -> None:
        self._recorder = recorder
        self._context = recorder.context
        self._counter = recorder.counter
        self._readback = recorder.context.readback
        self._reading, self._gathering = self._readback.waiting, self._readback.groups
        self._loss = loss
        self._rates: LearningRateSignal | None = None
        self._closers: list[Closer] = []
        self._fresh: list[float | None] = []  # losses that nobody looked at more closely yet, one a step
        self._bound = 0.0  # a loss up to this is nothing odd
        self._timing = False
        self._usual = False  # its loss is a number on the host, and nothing is waited for from a device
        self._failed = False
        self._left = 0
        self._account_at = 1
        self._spent_s = 0.0  # inside `step` since the accounts were settled
        self.closed_at = self.settled_at = 0.0
        self.rate_label: Any = None  # of the one optimizer with one group, the usual case
        self.rates: Any = None

    def begin(self, closed_at: float) -> None:
        """Starts a stretch."""
        signals = self._recorder.signals.all
        self._closers = [
            signal.plain_close
            for signal in signals
            if overrides(signal, "plain_close") and not isinstance(signal, _KNOWN) and not signal.plain_silent
        ]
        self._timing = any(isinstance(signal, TimingSignal) for signal in signals)
        rates = next((signal for signal in signals if isinstance(signal, LearningRateSignal)), None)
        self.rate_label, self.rates = rates.plain_single() if rates is not None and self._timing else (None, None)
        if rates is not None and self.rate_label is None:
            self._closers.append(rates.plain_close)
        self._rates = rates
        self._put = self._context.outbox.put_parts
        self.closed_at = self.settled_at = closed_at
        self._bound = self._recorder.anomalies.bound
        self._left = HEARD_AGAIN_AFTER << self._recorder.governor.too_dear
        self._account_at = 1
        self._usual = self._timing and not self._reading and not self._gathering

    def hurry(self) -> None:
        """Looks at the accounts at the next step: somebody asked for full detail."""
        self._account_at = 0

    def end(self, *, midway: bool = False) -> None:
        """Leaves everything as a step that is heard would find it; `midway`: the open step goes on as such."""
        self._usual = False
        self.settle()
        context = self._context
        context.closed_at = self.closed_at
        self._counter.closed = context.step
        if not self._reading and not self._gathering:
            context.outbox.complete(context.step)
        if self._rates is None:
            return
        if midway and not self._counter.stepped:  # its optimizers are about to step, and nobody read their rates before
            for key, optimizer in context.optimizers.items():
                if key in self._rates.rates:
                    self._rates.on_pre_step(key, optimizer)
        elif self.rate_label is not None:
            for key in self._rates.rates:
                self._rates.rates[key] = self.rates

    def rate(self, key: str, optimizer: Any) -> None:
        """Takes the learning rates down where they are not a single number."""
        if self._rates is not None:
            if self.rate_label is not None:
                self.rate_label = None  # another group, or a tensor
                self._closers.append(self._rates.plain_close)
            self._rates.on_pre_step(key, optimizer)

    def direct(self, guard: Guard) -> Callable[..., None]:
        """Makes what `monitor.step` is in plain steps: the usual case, and the way to `step` of the recorder."""
        context, counter, recorder = self._context, self._counter, self._recorder

        def step(loss: Any = None, **components: Any) -> None:
            began = perf_counter()
            try:
                if (
                    self._usual
                    and counter.stepped
                    and type(loss) is Tensor
                    and loss.is_cpu
                    and not components
                    and not counter.micro_batches
                    and loss.ndim == 0
                    and type(value := loss.item()) is float
                ):
                    self._failed, self._usual = True, False  # until it is whole
                    counter.stepped = False
                    context.step = number = context.step + 1
                    parts: Parts = [
                        EXACT_LOSS if loss.dtype is _DOUBLE else PLAIN_LOSS,
                        (value,),
                        STEP_TIME,
                        (began - self.closed_at,),
                        self.rate_label,
                        self.rates,
                    ]
                    if self.rate_label is None:  # the usual case has one
                        del parts[4:]
                    whole = True
                    if self._closers:
                        for close in self._closers:
                            close(number, parts)
                        whole = not self._reading and not self._gathering  # a norm may come from a device
                    self._put((number, time_ns() // 1_000_000, parts, whole))
                    self.closed_at = began
                    fresh = self._fresh
                    fresh.append(value)
                    self._failed, self._usual = False, whole
                    self._spent_s += perf_counter() - began
                    if len(fresh) >= self._account_at or not value <= self._bound:
                        self._account()
                else:
                    recorder.step(loss, components, began)
            except Exception as error:  # noqa: BLE001  a frame of the guard's own would cost a tenth of the step
                guard.absorb(error, "Monitor.step")

        return step

    def step(self, loss: Any, components: dict[str, Any], began: float) -> bool:
        """Takes one call of `monitor.step`; True when it closed a step."""
        context, counter = self._context, self._counter
        if not counter.stepped or self._failed:
            if self._failed:
                self._recorder.leave_plain(failed=True)
            return self._recorder.step_in_full(loss, components, began)
        try:
            counter.stepped = False
            context.closed_at = began
            step = context.step = context.step + 1
            time_ms = time_ns() // 1_000_000
            parts: Parts = []
            value = self._take(step, time_ms, loss, components, parts)
            if self._timing:
                parts += (STEP_TIME, (began - self.closed_at,))
            if self.rate_label is not None:
                parts += (self.rate_label, self.rates)
            self.closed_at = began
            for close in self._closers:
                close(step, parts)
            if self._reading or self._gathering:
                self._put((step, time_ms, parts, False))
                if self._reading:
                    self._read(step)
            else:
                self._put((step, time_ms, parts, True))
            fresh = self._fresh
            fresh.append(value)
        except BaseException:
            self._failed = True
            raise
        self._spent_s += perf_counter() - began
        if len(fresh) >= self._account_at or (value is not None and not value <= self._bound):
            self._account()
        return True

    def _take(self, step: int, time_ms: int, loss: Any, components: dict[str, Any], parts: Parts) -> float | None:
        """Takes a loss that is no number in a tensor on the host; answers it where the host knows it."""
        counter = self._counter
        if not components and not counter.micro_batches:
            if type(loss) is float:
                parts += (EXACT_LOSS, (loss,))
                return loss
            if type(loss) is Tensor and loss.is_cuda:
                group = self._gathering.get(LOSS)
                if (
                    group is not None
                    and loss.dtype in _FLOATS
                    and loss.ndim == 0
                    and group.has_room(time_ms, loss.get_device())
                ):  # what `readback.put_scalar` does, in fewer calls
                    group.add(step, time_ms, loss)
                    return None
        self._usual = False
        counter.micro_batches = 0
        self._loss.take(loss, components)
        self._loss.plain_close(step, parts)
        return self._loss.last

    def _read(self, step: int) -> None:
        """Hands over what came from a device."""
        reading = self._readback.flush(step=step)
        self._context.outbox.complete(step if reading is None else reading - 1)

    def _account(self) -> None:
        """Looks at the steps since the last time together, and ends the stretch when one is to be measured or heard."""
        began = perf_counter()
        sample_next = self.settle()
        if sample_next or self._left <= 0:
            self._recorder.leave_plain(sample_next=sample_next)
        self._context.spent_s += perf_counter() - began

    def settle(self) -> bool:
        """Hands what was put off to the watch over the loss and to the governor; True = measure the next step."""
        recorder, fresh = self._recorder, self._fresh
        count, self._fresh = len(fresh), []
        for index, value, kind in recorder.anomalies.look_at(fresh):
            recorder.found_odd(kind, self._context.step - count + 1 + index, value)
        if fresh and fresh[-1] is not None:
            self._loss.last = fresh[-1]
        on_device = bool(self._gathering) or (bool(self._reading) and self._reading[-1].event is not None)
        if self._gathering or self._reading:
            self._read(self._context.step)
        if self._loss.arrived:
            recorder.look_at_arrived()
        self._bound = recorder.anomalies.bound
        if not count:
            return False
        outside = OUTSIDE_ALONE if self._context.loss_alone else OUTSIDE
        if on_device:
            outside = OUTSIDE_DEVICE
        spent = self._context.spent_s + (1.0 + outside) * self._spent_s
        self._context.spent_s = self._spent_s = 0.0
        elapsed, self.settled_at = self.closed_at - self.settled_at, self.closed_at
        self._left -= count
        self._context.outbox.check_room()
        sample_next = recorder.governor.plain_steps(count, elapsed, spent)
        self._account_at = min(recorder.governor.look_after, self._left)
        if self._gathering or self._reading:
            self._account_at = min(self._account_at, LOOK_AT_ARRIVED_AFTER)
        return sample_next
