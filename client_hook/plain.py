"""Closes plain steps, those that nobody measures: one row with what the loop computed anyway, and nothing else.

After a training step every call of Python takes ten times as long as in a row (3 µs), because code and data have left
the caches. So this is one function that calls few others, touches few objects and leaves the accounts to every
sixteenth step. Not for: choosing which steps are plain (client_hook.recorder).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.optim import Optimizer

from client_hook.capture.base import overrides
from client_hook.capture.learning_rate import LearningRateSignal
from client_hook.capture.loss import LOSS, LossSignal
from client_hook.capture.timing import STEP_TIME, TimingSignal
from client_hook.guard import Guard
from client_hook.rows import Label, Parts

if TYPE_CHECKING:
    from client_hook.recorder import Recorder

HEARD_AGAIN_AFTER = 128  # plain steps: then two are heard, though not measured; half as often where that is dear
# what the wrappers and the optimizer's hooks take, which do not time themselves in plain steps, to what is timed here:
# 2.1 to 2.6 in three models where the backward is heard, 0.7 to 1.6 in six where the loss functions alone are
# (benchmarks.overhead)
OUTSIDE, OUTSIDE_ALONE = 2.3, 1.2
OUTSIDE_DEVICE = 0.2  # where losses come from a device: 0.09 to 0.16, since the copy of the loss is timed here
LOOK_AT_ARRIVED_AFTER = 16  # steps, where losses come from a device: nobody knows of an odd one earlier
_FLOATS = frozenset({torch.float32, torch.bfloat16, torch.float16})
_NOTHING: Parts = []
_KNOWN = (LossSignal, TimingSignal, LearningRateSignal)  # what they would add is added here

Closer = Callable[[int, Parts], None]


def _made(time_ms: int, parts: Parts) -> tuple[int, Parts]:
    """Hands on what is made already, where a plain step is no usual one."""
    return time_ms, parts


def _maker(label: Label | None) -> Callable[..., tuple[int, Parts]]:
    """Makes what turns what the usual plain step hands over into its rows, in the thread that writes."""
    origin_ms = time_ns() / 1e6 - 1e3 * perf_counter()

    def make(began: float, before: float, loss: float, rate: float | None, more: Parts) -> tuple[int, Parts]:
        exact = loss == loss and loss != array("f", (loss,))[0]
        parts = [(LOSS, exact), (loss,), STEP_TIME, (began - before,), *more]
        if label is not None:
            parts += (label, (rate,))
        return int(origin_ms + 1e3 * began), parts

    return make


class PlainSteps:
    """Takes over `step` from the recorder for a stretch of plain steps."""

    # slots lie in the order of their names: what each step touches, that without `_`, lies together
    __slots__ = (
        "_context",
        "_counter",
        "_gathering",
        "_label",
        "_left",
        "_loss",
        "_rates",
        "_readback",
        "_reading",
        "_recorder",
        "_settled_at",
        "_timing",
        "account_at",
        "bound",
        "closed_at",
        "closers",
        "failed",
        "fresh",
        "make",
        "put",
        "single",
        "spent_s",
        "usual",
    )

    def __init__(self, recorder: Recorder, loss: LossSignal) -> None:
        self._recorder = recorder
        self._context = recorder.context
        self._counter = recorder.counter
        self._readback = recorder.context.readback
        self._reading, self._gathering = self._readback.waiting, self._readback.groups
        self._loss = loss
        self.fresh: list[float | None] = []  # losses that nobody looked at more closely yet, one a step
        self.failed = False
        self._rates: LearningRateSignal | None = None
        self.single = False  # one optimizer has one group, the usual case, and steps are plain now
        self.spent_s = 0.0  # inside `step` since the accounts were settled

    def begin(self, closed_at: float) -> None:
        """Starts a stretch."""
        signals = self._recorder.signals.all
        self.closers: list[Closer] = [
            signal.plain_close
            for signal in signals
            if overrides(signal, "plain_close") and not isinstance(signal, _KNOWN) and not signal.plain_silent
        ]
        self._timing = any(isinstance(signal, TimingSignal) for signal in signals)
        rates = next((signal for signal in signals if isinstance(signal, LearningRateSignal)), None)
        self._label, rate = rates.plain_single() if rates is not None and self._timing else (None, None)
        self._counter.rate = rate
        self.single = self._label is not None
        if rates is not None and not self.single:
            self.closers.append(rates.plain_close)
        self._rates = rates
        self.put = self._context.outbox.put_parts
        self.make = _maker(self._label)
        self.closed_at = self._settled_at = closed_at
        self.bound = self._recorder.anomalies.bound  # a loss up to this is nothing odd
        self._left = HEARD_AGAIN_AFTER << self._recorder.governor.too_dear
        self._plan()
        # its loss is a number on the host, and nothing is waited for from a device
        self.usual = self._timing and not self._reading and not self._gathering

    def hurry(self) -> None:
        """Looks at the accounts at the next step: somebody asked for full detail."""
        self.account_at = 0

    def end(self, *, midway: bool = False) -> None:
        """Leaves everything as a step that is heard would find it; `midway`: the open step goes on as such."""
        self.usual = self.single = False
        self.settle()
        context, counter = self._context, self._counter
        context.closed_at = self.closed_at
        if not self._reading and not self._gathering:
            context.outbox.complete(counter.closed)
        if self._rates is None:
            return
        if midway and not counter.stepped:  # its optimizers are about to step, and nobody read their rates before
            for key, optimizer in context.optimizers.items():
                if key in self._rates.rates:
                    self._rates.on_pre_step(key, optimizer)
        elif self._label is not None:
            for key in self._rates.rates:
                self._rates.rates[key] = (counter.rate,)

    @property
    def moving(self) -> bool:
        """Says whether rates move within an optimizer's step: then they are read before it in plain steps too."""
        return self._rates is not None and self._rates.moving

    def hook_before(self, key: str) -> Callable[[Optimizer, Any, Any], None]:
        """Makes what an optimizer calls before a plain step where rates move within it."""

        def before(optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG001
            self.read_rates(key, optimizer)

        return before

    def read_rates(self, key: str, optimizer: Optimizer) -> None:
        """Keeps the rates of an optimizer as they are now."""
        if self._rates is not None and not is_dynamo_compiling():
            self._rates.on_pre_step(key, optimizer)

    def hook(self, key: str) -> Callable[[Optimizer, Any, Any], None]:
        """Makes what an optimizer calls after it stepped in a plain step. Nobody was called before: what the rates are
        now, they were when it stepped."""
        counter, recorder = self._counter, self._recorder

        def stepped(optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG001
            if is_dynamo_compiling():
                recorder.post_step(key, optimizer)
            elif self.single and len(groups := optimizer.param_groups) == 1 and type(rate := groups[0]["lr"]) is float:
                counter.stepped = True
                counter.optimizer_steps += 1
                counter.rate = rate
            else:
                self._stepped(key, optimizer)

        return stepped

    def _stepped(self, key: str, optimizer: Optimizer) -> None:
        """Does the same where the rates are no single number; and where steps are plain no more, what is done then."""
        if self._recorder.plain is not None:
            self._counter.stepped = True
            self._counter.optimizer_steps += 1
            if self._rates is not None:
                if self._label is not None:  # another group, or a tensor
                    self._label, self.single = None, False
                    self.make = _maker(None)
                    self.closers.append(self._rates.plain_close)
                if not self._rates.moving:
                    self._rates.on_pre_step(key, optimizer)
        else:
            self._recorder.post_step(key, optimizer)

    def direct(self, guard: Guard) -> Callable[..., None]:
        """Makes what `monitor.step` is in plain steps: the usual case, and the way to `step` of the recorder."""
        counter, recorder = self._counter, self._recorder

        def step(loss: Any = None, **components: Any) -> None:
            began = perf_counter()
            try:
                if self.usual and counter.stepped and not components:
                    value = loss.item() if type(loss) is Tensor and loss.is_cpu and loss.ndim == 0 else loss
                    if type(value) is float:
                        self.failed, self.usual = True, False  # until it is whole
                        counter.stepped = False
                        counter.closed = number = counter.closed + 1
                        more: Parts = _NOTHING
                        whole = True
                        if self.closers:
                            more = []
                            for close in self.closers:
                                close(number, more)
                            whole = not self._reading and not self._gathering  # a norm may come from a device
                        self.put((number, whole, self.make, began, self.closed_at, value, counter.rate, more))
                        self.closed_at = began
                        fresh = self.fresh
                        fresh.append(value)
                        self.failed, self.usual = False, whole
                        self.spent_s += perf_counter() - began
                        if len(fresh) >= self.account_at or not value <= self.bound:
                            self._account()
                        return
                recorder.step(loss, components, began)
            except Exception as error:  # noqa: BLE001  a frame of the guard's own would cost a tenth of the step
                guard.absorb(error, "Monitor.step")

        return step

    def step(self, loss: Any, components: dict[str, Any], began: float) -> bool:
        """Takes one call of `monitor.step`; True when it closed a step."""
        counter = self._counter
        if not counter.stepped or self.failed:
            self.usual = False  # what comes belongs to one step
            if self.failed:
                self._recorder.leave_plain(failed=True)
            return self._recorder.step_in_full(loss, components, began)
        try:
            counter.stepped = False
            self._context.closed_at = began
            step = counter.closed = counter.closed + 1
            time_ms = time_ns() // 1_000_000
            parts: Parts = []
            value = self._take(step, time_ms, loss, components, parts)
            if self._timing:
                parts += (STEP_TIME, (began - self.closed_at,))
            if self._label is not None:
                parts += (self._label, (counter.rate,))
            self.closed_at = began
            for close in self.closers:
                close(step, parts)
            self.put((step, not self._reading and not self._gathering, _made, time_ms, parts))
            if self._reading:
                self._read(step)
            fresh = self.fresh
            fresh.append(value)
        except BaseException:
            self.failed = True
            raise
        self.spent_s += perf_counter() - began
        if len(fresh) >= self.account_at or (value is not None and not value <= self.bound):
            self._account()
        return True

    def _take(self, step: int, time_ms: int, loss: Any, components: dict[str, Any], parts: Parts) -> float | None:
        """Takes a loss that is no number in a tensor on the host; answers it where the host knows it."""
        counter = self._counter
        if not components and not counter.micro_batches and type(loss) is Tensor and loss.is_cuda and loss.ndim == 0:
            group = self._gathering.get(LOSS)
            if group is not None and loss.dtype in _FLOATS and group.has_room(time_ms, loss.get_device()):
                group.add(step, time_ms, loss)  # what `readback.put_scalar` does, in fewer calls
                return None
        self.usual = False
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
        else:
            self._context.patches.expect(self._context, self.bound)
        self._context.spent_s += perf_counter() - began

    def settle(self) -> bool:
        """Hands what was put off to the watch over the loss and to the governor; True = measure the next step."""
        recorder, fresh = self._recorder, self.fresh
        count, self.fresh = len(fresh), []
        self.make = _maker(self._label)  # by the clock of this moment
        for index, value, kind in recorder.anomalies.look_at(fresh):
            recorder.found_odd(kind, self._context.step - count + 1 + index, value)
        if fresh and fresh[-1] is not None:
            self._loss.last = fresh[-1]
        on_device = bool(self._gathering) or (bool(self._reading) and self._reading[-1].event is not None)
        if self._gathering or self._reading:
            self._read(self._context.step)
        if self._loss.arrived:
            recorder.look_at_arrived()
        self.bound = recorder.anomalies.bound
        if not count:
            return False
        outside = OUTSIDE_ALONE if self._context.loss_alone else OUTSIDE
        if on_device:
            outside = OUTSIDE_DEVICE
        spent = self._context.spent_s + (1.0 + outside) * self.spent_s
        self._context.spent_s = self.spent_s = 0.0
        elapsed, self._settled_at = self.closed_at - self._settled_at, self.closed_at
        self._left -= count
        self._context.outbox.check_room()
        sample_next = recorder.governor.plain_steps(count, elapsed, spent)
        self._plan()
        return sample_next

    def _plan(self) -> None:
        late = LOOK_AT_ARRIVED_AFTER if self._gathering or self._reading else self._left
        self.account_at = min(self._recorder.governor.look_after, self._left, late)
