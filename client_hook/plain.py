"""Closes plain steps, those that nobody measures: one row with what the loop computed anyway, and nothing else.

After a training step every call of Python takes ten times as long as in a row (3 µs), because code and data have left
the caches. So this is one function that calls few others, touches few objects, appends one tuple and leaves the rest to
the thread that writes, and the accounts to every sixteenth step. Not for: choosing which steps are plain
(client_hook.recorder).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import partial
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
from client_hook.plain_rows import Label, Parts, Stretch

if TYPE_CHECKING:
    from client_hook.recorder import Recorder

HEARD_AGAIN_AFTER = 128  # plain steps: then two are heard, though not measured; half as often where that is dear
# what the wrappers and the optimizer's hooks take, which do not time themselves in plain steps, to what is timed here:
# 2.1 to 2.6 in three models where the backward is heard, 0.7 to 1.6 in six where the loss functions alone are
# (benchmarks.overhead)
OUTSIDE, OUTSIDE_ALONE = 2.3, 1.2
# a usual step times itself at the accounts alone, without its call and its return: so much of it stands for what
# others time of theirs (1.7 to 2.6, the same way)
USUAL = 2.3
OUTSIDE_DEVICE = 0.2  # where losses come from a device: 0.09 to 0.16, since the copy of the loss is timed here
LOOK_AT_ARRIVED_AFTER = 16  # steps, where losses come from a device: nobody knows of an odd one earlier
_FLOATS = frozenset({torch.float32, torch.bfloat16, torch.float16})
_KNOWN = (LossSignal, TimingSignal, LearningRateSignal)  # what they would add is added here

Closer = Callable[[int, Parts], None]


def _parts_of(label: Label | None, seconds: float, loss: float, rate: float | None, more: Parts | None = None) -> Parts:
    """Makes what the usual plain step hands over into its rows, in the thread that writes."""
    exact = loss == loss and loss != array("f", (loss,))[0]
    parts = [(LOSS, exact), (loss,), STEP_TIME, (seconds,), *(more or ())]
    if label is not None:
        parts += (label, (rate,))
    return parts


class PlainSteps:
    """Takes over `step` from the recorder for a stretch of plain steps."""

    # slots lie in the order of their names: what each step touches, that without `_`, lies together
    __slots__ = (
        "_closed_at",
        "_context",
        "_counter",
        "_failed",
        "_fresh",
        "_gathering",
        "_label",
        "_left",
        "_loss",
        "_put",
        "_rates",
        "_readback",
        "_reading",
        "_recorder",
        "_settled",
        "_settled_at",
        "_spent_s",
        "_stretch",
        "_timing",
        "_usual_s",
        "account_at",
        "alone",
        "before_s",
        "bound",
        "closers",
        "single",
        "steps",
        "usual",
    )

    def __init__(self, recorder: Recorder, loss: LossSignal) -> None:
        self._recorder = recorder
        self._context = recorder.context
        self._counter = recorder.counter
        self._readback = recorder.context.readback
        self._reading, self._gathering = self._readback.waiting, self._readback.groups
        self._loss = loss
        self._failed = False
        self._rates = self._rates_signal()
        self.alone = False  # loss functions say whether the loss is a number: the backward is not heard
        self.single = False  # one optimizer has one group, the usual case, and steps are plain now
        # a usual step: its loss is a number on the host, and nothing is waited for from a device
        self.usual = False
        self._stretch: Stretch | None = None  # of the usual steps since the last one that was heard
        self.steps: list[tuple[Any, ...]] = []  # of that stretch: when each closed, its loss, its rate
        self._settled = 0  # of these steps
        self._fresh: list[float | None] = []  # losses of other steps that nobody looked at more closely yet
        self._spent_s = 0.0  # inside `step` since the accounts were settled, without usual steps
        self._usual_s = 0.0  # that one usual step takes
        self.before_s = 0.0  # spent after the last step that was heard, and of that

    def begin(self, closed_at: float) -> None:
        """Starts a stretch."""
        signals = self._recorder.signals.all
        self.closers: list[Closer] = [
            signal.plain_close
            for signal in signals
            if overrides(signal, "plain_close") and not isinstance(signal, _KNOWN) and not signal.plain_silent
        ]
        self._timing = any(isinstance(signal, TimingSignal) for signal in signals)
        rates = self._rates = self._rates_signal()
        self._label, rate = rates.plain_single() if rates is not None and self._timing else (None, None)
        self._counter.rate = rate
        self.single = self._label is not None
        if rates is not None and not self.single:
            self.closers.append(rates.plain_close)
        self._put = self._context.outbox.put_parts
        self._closed_at = self._settled_at = closed_at
        self._settled = 0
        self.bound = self._recorder.anomalies.bound  # a loss up to this is nothing odd
        self._left = HEARD_AGAIN_AFTER << self._recorder.governor.too_dear
        self._plan()
        if self._timing and self._recorder.shorten is not None and not self._reading and not self._gathering:
            stretch = Stretch(self._counter.closed + 1, closed_at, partial(_parts_of, self._label))
            self._context.outbox.put_stretch(stretch)
            self._stretch, self.steps = stretch, stretch.steps
            self._counter.stretch = stretch.steps
            self.usual = True

    def _leave_usual(self) -> None:
        """Lets no more steps be usual ones until plain steps begin again."""
        self.usual = False
        stretch, self._stretch = self._stretch, None
        if stretch is None:
            return
        self._fresh += [loss for _, loss, *_ in self.steps[self._settled :]]
        self._spent_s += USUAL * self._usual_s * len(self._fresh)
        if self.steps:
            self._closed_at = self.steps[-1][0]
        self.account_at -= self._settled
        self._settled = 0
        self._counter.end_stretch()
        self._context.outbox.end_stretch(stretch)
        self.steps = []

    @property
    def closed_at(self) -> float:
        """Gives the time at which the last plain step closed (`perf_counter`)."""
        return self.steps[-1][0] if self.steps else self._closed_at

    def hurry(self) -> None:
        """Looks at the accounts at the next step: somebody asked for full detail."""
        self.account_at = 0

    def end(self, *, midway: bool = False) -> None:
        """Leaves everything as a step that is heard would find it; `midway`: the open step goes on as such."""
        self._leave_usual()
        self.single = False
        self.settle()
        context, counter = self._context, self._counter
        context.closed_at = self._closed_at
        if not self._reading and not self._gathering:
            context.outbox.complete(counter.closed)
        if self._rates is None:
            return
        if midway and not (counter.stepped or counter.micro_batches):
            # its optimizers are about to step, and nobody read their rates before
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

    def left_out(self, key: str, optimizer: Optimizer) -> None:
        """Keeps the rates of a step that a scaler may have left out, before a scheduler changes them."""
        if not self.moving:
            self.read_rates(key, optimizer)
            if self.single:
                self._counter.rate = optimizer.param_groups[0]["lr"]

    def _rates_signal(self) -> LearningRateSignal | None:
        return next((item for item in self._recorder.signals.all if isinstance(item, LearningRateSignal)), None)

    def hook(self, key: str) -> Callable[[Optimizer, Any, Any], None]:
        """Makes what an optimizer calls after it stepped in a plain step. Nobody was called before: what the rates are
        now, they were when it stepped."""
        counter = self._counter

        def stepped(optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG001
            if self.single and len(groups := optimizer.param_groups) == 1 and type(rate := groups[0]["lr"]) is float:
                counter.stepped = True
                counter.optimizer_steps += 1
                counter.rate = rate
            else:
                self._stepped(key, optimizer)

        # what Dynamo sees in its place
        stepped._torchdynamo_inline = partial(self._recorder.post_step, key)  # type: ignore[attr-defined]
        return stepped

    def _stepped(self, key: str, optimizer: Optimizer) -> None:
        """Does the same where the rates are no single number; and where steps are plain no more, what is done then."""
        if self._recorder.plain is not None:
            self._counter.stepped = True
            self._counter.optimizer_steps += 1
            if self._rates is not None:
                if self._label is not None:  # another group, or a tensor
                    self._leave_usual()
                    self._label, self.single = None, False
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
                    try:
                        value = loss.item() if type(loss) is Tensor and loss.is_cpu else loss
                    except RuntimeError:  # of several elements
                        value = None
                    if type(value) is float:
                        steps = self.steps
                        if self.closers:
                            self._add(began, value)
                        else:
                            steps.append((began, value, counter.rate))
                        counter.stepped = False
                        if not value <= self.bound or len(steps) >= self.account_at:
                            self._account(began)
                        return
                recorder.step(loss, components, began)
            except Exception as error:  # noqa: BLE001  a frame of the guard's own would cost a tenth of the step
                self._lose(began)
                guard.absorb(error, "Monitor.step")
            except BaseException:
                self._lose(began)
                raise

        return step

    def _add(self, began: float, loss: float) -> None:
        """Closes a usual step to which signals add something."""
        number, more = self._counter.closed + 1, list[Any]()
        for close in self.closers:
            close(number, more)
        if not self._reading and not self._gathering:
            self.steps.append((began, loss, self._counter.rate, more))
            return
        self._leave_usual()  # a norm comes from a device
        self._counter.closed = number
        parts = _parts_of(self._label, began - self._closed_at, loss, self._counter.rate, more)
        self._put((number, False, time_ns() // 1_000_000, parts))
        self._closed_at = began
        self._fresh.append(loss)

    def _lose(self, began: float) -> None:
        """Counts a usual step that was interrupted before it was put down; what comes next is heard."""
        if self._stretch is None or not self._counter.stepped:
            return
        known = self.closed_at == began
        self._leave_usual()
        self._counter.closed += not known
        self._counter.stepped = False
        self._failed = True

    def step(self, loss: Any, components: dict[str, Any], began: float) -> bool:
        """Takes one call of `monitor.step`; True when it closed a step."""
        counter = self._counter
        if self._stretch is not None:
            self._leave_usual()  # what comes may belong to one step
        if not counter.stepped or self._failed:
            if self._failed:
                self._recorder.leave_plain(failed=True)
            return self._recorder.step_in_full(loss, components, began)
        try:
            several = counter.micro_batches > 0
            step = counter.close()
            self._context.closed_at = began
            time_ms = time_ns() // 1_000_000
            parts: Parts = []
            value = self._take(step, time_ms, loss, components, parts, several=several)
            if self._timing:
                parts += (STEP_TIME, (began - self._closed_at,))
            if self._label is not None:
                parts += (self._label, (counter.rate,))
            self._closed_at = began
            for close in self.closers:
                close(step, parts)
            self._put((step, not self._reading and not self._gathering, time_ms, parts))
            if self._reading:
                self._read(step)
            fresh = self._fresh
            fresh.append(value)
        except BaseException:
            self._failed = True
            raise
        self._spent_s += perf_counter() - began
        if len(fresh) >= self.account_at or (value is not None and not value <= self.bound):
            self._account()
        return True

    def _take(
        self, step: int, time_ms: int, loss: Any, components: dict[str, Any], parts: Parts, *, several: bool
    ) -> float | None:
        """Takes a loss that is no number in a tensor on the host; answers it where the host knows it."""
        if not components and not several and type(loss) is Tensor and loss.is_cuda and loss.ndim == 0:
            group = self._gathering.get(LOSS)
            if group is not None and loss.dtype in _FLOATS and group.has_room(time_ms, loss.get_device()):
                group.add(step, time_ms, loss)  # what `readback.put_scalar` does, in fewer calls
                return None
        self._loss.take(loss, components)
        self._loss.plain_close(step, parts)
        return self._loss.last

    def _read(self, step: int) -> None:
        """Hands over what came from a device."""
        reading = self._readback.flush(step=step)
        self._context.outbox.complete(step if reading is None else reading - 1)

    def _account(self, step_began: float | None = None) -> None:
        """Looks at the steps since the last time together, and ends the stretch when one is to be measured or heard.
        `step_began`: when the usual step began that comes here; what it took, stands for the others."""
        began = perf_counter()
        if step_began is not None:
            took, usual = began - step_began, self._usual_s
            self._usual_s += 0.25 * (min(took, 3.0 * usual) - usual) if usual else took
        sample_next = self.settle()
        if sample_next or self._left <= 0:
            self._recorder.leave_plain(sample_next=sample_next)
        else:
            self._context.patches.expect(self._context, self.bound)
        self._context.spent_s += perf_counter() - began

    def settle(self) -> bool:
        """Hands what was put off to the watch over the loss and to the governor; True = measure the next step."""
        recorder, stretch = self._recorder, self._stretch
        fresh, self._fresh = self._fresh, []
        if stretch is not None:
            fresh, self._settled = [loss for _, loss, *_ in self.steps[self._settled :]], len(self.steps)
            self._spent_s += USUAL * self._usual_s * len(fresh)
            stretch.set_clock()
        count = len(fresh)
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
        outside = OUTSIDE_ALONE if self.alone else OUTSIDE
        if on_device:
            outside = OUTSIDE_DEVICE
        spent = self._context.spent_s + (1.0 + outside) * self._spent_s
        self._context.spent_s = self._spent_s = 0.0
        elapsed, self._settled_at = self.closed_at - self._settled_at, self.closed_at
        self._left -= count
        self._context.outbox.check_room()
        before_s, self.before_s = self.before_s, 0.0
        sample_next = recorder.governor.plain_steps(count, elapsed, spent, before_s)
        self._plan()
        return sample_next

    def _plan(self) -> None:
        late = LOOK_AT_ARRIVED_AFTER if self._gathering or self._reading else self._left
        self.account_at = self._settled + min(self._recorder.governor.look_after, self._left, late)
