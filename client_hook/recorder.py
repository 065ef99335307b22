"""Drives the signals of one monitor: hears the optimizers, closes steps, and lets the governor choose what is measured.

Not for: the public calls (client_hook.monitor) or what is measured (client_hook.capture).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter
from types import FrameType
from typing import Any

import torch
from torch import Tensor, compiler
from torch.compiler import is_dynamo_compiling
from torch.optim import Optimizer

from client_hook import closures, ranks
from client_hook.accumulation import Accumulation
from client_hook.anomaly import LossWatch
from client_hook.capture import signal_types
from client_hook.capture.base import Context, Signal
from client_hook.capture.loss import LossSignal
from client_hook.capture.owned import Owned
from client_hook.governor import Governor
from client_hook.guard import Guard
from client_hook.numbers import is_bad
from client_hook.optimizer_hooks import OptimizerHooks
from client_hook.other_hands import OtherHands
from client_hook.patches import capture
from client_hook.plain import PlainSteps
from client_hook.replays import Replays
from client_hook.signals import Signals

_OVERHEAD = ("hook/overhead",)
_GONE = "The watched optimizer steps no more: steps are counted by calls of monitor.step; watch the one in its place."
_OFTEN = (
    "monitor.step is called more often than backward: what it is told within a step is averaged; "
    "name the parts of one loss, monitor.step(loss, a=a, b=b)."
)
_EARLY = "monitor.step comes before optimizer.step: each loss is kept for the step before its own; call it last."
FIRST_CALLS = 4  # steps
HEARD_STEPS = 100  # before any is plain: what a loop does wrong, it does from the beginning
# wishes to hear a plain step after all that are granted where that is dear: so many, and one in so many steps
FREE_WAKES = 50
STEPS_A_WAKE = 64
# steps that are heard after a validation, or where a call came out of order; so many between two such stretches
LISTENED = 7
LISTEN_EVERY, LISTEN_EVERY_DEAR = 100, 500


class Recorder:
    """Owns the signals of a monitor from `attach` to `detach`."""

    def __init__(self, context: Context, guard: Guard, types: list[type[Signal]] | None = None) -> None:
        self.context = context
        self.guard = guard
        self.counter = context.counter
        self.governor = Governor(context.options.budget, together=ranks.several())
        self.anomalies = LossWatch()
        self.signals = Signals(context, guard, types if types is not None else signal_types())
        self._replays = Replays(context, self.signals, self.counter)
        known = (signal for signal in self.signals.all if isinstance(signal, LossSignal))
        self._loss = next(known, None) or LossSignal(context)
        self.hooks = OptimizerHooks()
        self._first_calls: list[int] = []  # calls of `step` in the first steps
        self._backwards = self._spare_calls = 0  # in the open step; of the first steps, those with more calls than that
        self._reaches: bool | None = None  # the first backward does, and can be followed to, a watched weight
        self._elsewhere = False  # the newest one, in a step with more calls than ever, reaches none
        self._other_hands = OtherHands(context)
        self._owned = Owned(context)
        self._accumulation = Accumulation(context)
        self._compiled_step = False
        self._alarmed_at = -1  # the step that a signal took for broken before it closed
        self.plain: PlainSteps | None = None  # while steps are plain
        self._plain_steps = PlainSteps(self, self._loss)
        self.step: Callable[[Any, dict[str, Any], float], bool] = self.step_in_full
        # takes what `monitor.step` is in plain steps, or None where they end
        self.shorten: Callable[[Callable[..., None] | None], None] | None = None
        self._plain_failed = False
        self._wakes = self._listen_until = self._listen_next = 0
        self._closed_at = perf_counter()

    # -- beginning and end -------------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Installs every hook; the first step is measured in full."""
        for key, optimizer in self.context.optimizers.items():
            # the optimizer holds these and so the recorder, which holds no optimizer
            pre, post = partial(self.pre_step, key), partial(self.post_step, key)
            plain = self._plain_steps
            self.hooks.add(optimizer, (pre, plain.hook_before(key)), (post, plain.hook(key)))
        if self.signals.on_backward[True]:
            self.context.patches.subscribe(self)
            self.context.patches.subscribe(self._accumulation)
            self._replays.attach()
        self.context.on_scaled = self._scaled
        self.context.on_alarm = self._alarm
        self.context.on_wake = self._wake
        self.signals.tell_all("attach")
        self.signals.tell(self.signals.arm, True)
        self._closed_at = perf_counter()
        self.context.spent_s = 0.0

    def detach(self) -> None:
        """Takes every hook away; forgets the signals."""
        self.hooks.remove()
        self.context.patches.unsubscribe(self)
        self.context.patches.unsubscribe(self._accumulation)
        self._replays.detach()
        self.context.on_scaled = self.context.on_alarm = self.context.on_wake = None
        self.signals.detach(*self.signals.all)
        self.signals.clear()
        self.step = lambda *_: False  # somebody may have kept it, or what plain steps made of it
        self._plain_steps.usual = False

    def finish(self) -> None:
        """Closes the open step and lets every signal hand over its last words."""
        readback = self.context.readback
        readback.flush(True)
        if readback.failed is not None:  # what failed is the device, and with it the training: nobody need be told
            self.guard.quiet, self.guard.strict = True, False
        self._end_plain(midway=True)
        if readback.failed is None and (self.counter.stepped or self.counter.micro_batches):
            self.context.closed_at = perf_counter()
            self._close(perf_counter())
        self.signals.tell_all("on_finish")
        readback.flush(True)
        if (failed := readback.failed) is not None:
            self.context.note(f"{type(failed).__name__}: the device gave no more values ({failed!s:.200}).")
        self.context.outbox.complete(self.counter.closed)
        summary = {**self.governor.summary(), "memory_bytes": getattr(self.context.outbox, "peak_bytes", None)}
        self.context.outbox.record("fact", "overhead", self.counter.closed, summary)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def step_in_full(self, loss: Any, components: dict[str, Any], began: float) -> bool:
        """Takes one call of `monitor.step`; True when it closed a step."""
        if capture.graph is not None:
            self.context.note(
                "CUDA graph: a monitor.step inside the capture is not heard; it belongs after the replay."
            )
            return False
        counter = self.counter
        if not counter.micro_batches:
            self._loss.forget()  # what came with a step whose closing was interrupted
        self._loss.take(loss, components)
        self.context.closed_at = began
        if self.hooks.away:
            self.hooks.exchange(plain=False)
        if (
            counter.optimizer_seen
            and not counter.stepped
            and (not self.context.optimizers or self._elsewhere or self._other_hands.moved())
        ):
            counter.lose_optimizer()
        if counter.may_wait and self._accumulation.by_hand():
            counter.wait_no_more()
        accumulates = not counter.optimizer_seen and self._accumulation.goes_on()
        closing = counter.call(accumulates=accumulates)
        if counter.abandoned:
            counter.abandoned = False
            self.context.note(_GONE)
        if closing:
            self._close(began)
            return True
        self.context.micro_batches = counter.micro_batches
        self._loss.keep()
        if self.plain is not None and counter.micro_batches > max(counter.most_calls, 1):
            self._end_plain(midway=True)  # whose backwards these are is to be heard
        self.context.spent_s += perf_counter() - began
        return False

    def backward(self, root: Tensor) -> None:
        """Hears that `torch.autograd.backward` begins."""
        self._backwards += 1
        counter = self.counter
        if self._reaches is None:
            self._reaches = self._owned.parameters(root)
        elif counter.optimizer_seen and not counter.stepped and counter.micro_batches >= max(counter.most_calls, 1):
            self._elsewhere = bool(self._reaches) and not self._owned.parameters(root)
        hearing = self.signals.on_backward[self.context.sampled]
        if hearing:
            self.signals.tell(hearing, root)

    def _close(self, began: float) -> None:
        context = self.context
        sampled = context.sampled
        context.micro_batches = self.counter.micro_batches
        step = self.counter.close()
        if len(self._first_calls) < FIRST_CALLS:
            self._first_calls.append(context.micro_batches)
            self._spare_calls += context.micro_batches > self._backwards > 0
            if self._first_calls == [2, *[1] * (FIRST_CALLS - 1)]:
                context.note(_EARLY)
            elif self._spare_calls == FIRST_CALLS - 1:  # the first call alone closes the first step
                context.note(_OFTEN)
        self._backwards, self._elsewhere = 0, False
        now_ms = context.now_ms()
        self.signals.tell(self.signals.on_close[sampled], step, now_ms, sampled)
        context.micro_batches = 0
        waiting = context.readback.flush(step=step)
        context.outbox.complete(step if waiting is None else waiting - 1)
        if self._loss.last is not None:
            self._look_at(step, self._loss.last)
        self.look_at_arrived()
        governor = self.governor
        if self._compiled_step:
            context.note(
                "compiled step: gradients and updates not visible (the optimizer steps inside a compiled function)."
            )
        if sampled:
            context.outbox.row(step, now_ms, _OVERHEAD, (governor.report(),), False)
        before, now = self._closed_at, perf_counter()
        self._closed_at = began
        spent = context.spent_s + (now - began)
        self._begin_next(sampled, governor.after_step(began - before, spent, sampled))
        # what came after `now` is counted with the next step
        context.spent_s = perf_counter() - now
        if self.plain is not None:
            self.plain.before_s = context.spent_s

    def _begin_next(self, sampled: bool, next_sampled: bool) -> None:
        self.context.sampled = next_sampled
        if sampled or next_sampled:
            self.signals.tell(self.signals.arm, next_sampled)
        if not next_sampled and self.governor.steps >= max(HEARD_STEPS, self._listen_until):
            self._begin_plain()

    # -- plain steps -------------------------------------------------------------------------------------------------

    def _begin_plain(self) -> None:
        """Hands the next steps over to `PlainSteps`: from here on nearly nobody hears the loop's calls."""
        plain = self._plain_steps
        if self._plain_failed or not (self.signals.may_rest and self.counter.optimizer_seen):
            return
        self.plain = plain
        plain.begin(self._closed_at)
        self.step = plain.step
        if self.shorten is not None:
            self.shorten(plain.direct(self.guard))
        self.hooks.exchange(plain=True, keep=plain.moving)
        patches, told = self.context.patches, self._loss.last
        # what is told is that result, so the loss functions say all; else the backward is heard
        plain.alone = self.context.loss_alone and patches.is_newest_loss(told)
        patches.set_plain(self.context, True, alone=plain.alone)
        patches.expect(self.context, plain.bound)

    def _end_plain(self, *, midway: bool) -> None:
        """Listens again, from the next call on."""
        plain, self.plain = self.plain, None
        if plain is None:
            return
        self.step = self.step_in_full
        if self.shorten is not None:
            self.shorten(None)
        self.hooks.exchange(plain=False, midway=midway)
        try:
            plain.end(midway=midway)
        finally:
            self._closed_at = plain.closed_at
            self.context.patches.set_plain(self.context, False)
        self.signals.tell(self.signals.resume, midway)

    def leave_plain(self, *, sample_next: bool = False, failed: bool = False) -> None:
        """Ends a stretch of plain steps between two of them."""
        self._plain_failed = self._plain_failed or failed  # the long way knows who it was
        self._end_plain(midway=failed)
        # two: what comes before the first of them is not known
        self._listen_until = max(self._listen_until, self.governor.steps + 2)
        if sample_next:
            self._begin_next(False, True)

    def _wake(self) -> bool:
        """Hears the rest of a step that began as a plain one and the steps after it, unless the loop asks for that so
        often that it is dear."""
        governor, plain = self.governor, self.plain is not None
        if plain:
            if governor.too_dear and self._wakes > FREE_WAKES + governor.steps // STEPS_A_WAKE:
                return False
            self._wakes += 1
            self._end_plain(midway=True)
        if governor.steps >= max(HEARD_STEPS, self._listen_next):
            self._listen_until = governor.steps + LISTENED
            self._listen_next = governor.steps + (LISTEN_EVERY_DEAR if governor.too_dear else LISTEN_EVERY)
        return plain

    def look_at_arrived(self) -> None:
        """Looks at the losses that came from a device since the last time."""
        arrived, self._loss.arrived = self._loss.arrived, []
        for step, loss in arrived:
            self._look_at(step, loss)

    def _look_at(self, step: int, loss: float) -> None:
        if (kind := self.anomalies.look(loss)) is not None:
            self.found_odd(kind, step, loss)

    def found_odd(self, kind: str, step: int, loss: float) -> None:
        """Hears that the loss of a step was odd: the next steps are measured."""
        if self._alarm() or self._alarmed_at == step:
            self.context.outbox.record("event", "anomaly", step, {"kind": kind, "loss": loss})
        if self.context.on_break is not None:
            self.signals.tell([self.context.on_break], kind, step)

    def left(self, frames: Iterable[FrameType]) -> None:
        """Looks in code that is left for a loss that was not told because it is no number."""
        self.context.readback.flush(True)
        self._end_plain(midway=True)
        self.look_at_arrived()
        root = next(filter(_is_bad_loss, (item for frame in frames for item in list(frame.f_locals.values()))), None)
        if root is None or not self.anomalies.was_finite or not self._owned.graph(root):
            return
        step, value = self.context.open_step, root.item()
        self.context.outbox.row(step, self.context.now_ms(), ("loss",), (value,))
        self.signals.tell_all("plain_bad_loss", root)
        self._look_at(step, value)

    def _alarm(self, step: int | None = None) -> bool:
        """Asks for full detail for a while, because of a step (the open one); False when that was a moment ago."""
        if not self.governor.alarm():
            return False
        self._alarmed_at = self.context.open_step if step is None else step
        if self.plain is not None:
            self.plain.hurry()
        return True

    # -- the optimizers ----------------------------------------------------------------------------------------------

    def pre_step(self, key: str, optimizer: Optimizer, args: Any = (), kwargs: Any = None) -> Any:
        """Runs just before a watched optimizer steps; a closure is handed on inside one of ours on sampled steps."""
        if is_dynamo_compiling() or compiler._is_compiling_flag or capture.graph is not None:
            return None
        hearing = self.signals.on_pre_step[self.context.sampled]
        if not hearing:
            return None
        began = perf_counter()
        changed = None
        if (len(args) > 1 or kwargs) and self.context.sampled:
            changed = closures.replaced(args, kwargs, partial(self._at_gradients, key, weakref.ref(optimizer)))
            if changed is not None:
                hearing = [method for method in hearing if method not in self.signals.at_gradients]
        self.signals.tell(hearing, key, optimizer)
        self.context.spent_s += perf_counter() - began
        return changed

    def _at_gradients(self, key: str, reference: weakref.ref[Optimizer]) -> None:
        """Runs after the first evaluation of a closure."""
        optimizer = reference()
        if optimizer is not None and self.signals.all:
            began = perf_counter()
            with torch.no_grad():
                self.signals.tell(self.signals.at_gradients, key, optimizer)
            self.context.spent_s += perf_counter() - began

    def post_step(self, key: str, optimizer: Optimizer, *_: Any) -> None:
        """Runs just after a watched optimizer stepped."""
        if is_dynamo_compiling() or compiler._is_compiling_flag:
            # a compiled step is counted, which Dynamo keeps beside its graph, and nothing else
            self.counter.stepped = self._compiled_step = True
            return
        if capture.graph is not None:  # it steps when the graph is replayed
            self._replays.captured(key)
            return
        counter = self.counter
        counter.stepped = counter.optimizer_seen = True
        counter.optimizer_steps += 1
        if self.hooks.away and not self._plain_steps.moving:
            self._plain_steps.read_rates(key, optimizer)
        hearing = self.signals.on_post_step[self.context.sampled]
        if hearing:
            began = perf_counter()
            self.signals.tell(hearing, key, optimizer)
            self.context.spent_s += perf_counter() - began

    def _scaled(self, key: str, optimizer: Optimizer) -> None:
        """Runs after a gradient scaler let an optimizer step, or left its step out."""
        self._plain_steps.left_out(key, optimizer)
        self.counter.optimizer_stepped()

    # -- CUDA graphs -------------------------------------------------------------------------------------------------

    def graph_capture(self) -> None:
        """Hears that a CUDA graph will be captured: what is captured is no plain step."""
        self._end_plain(midway=True)

    plain_graph_capture = graph_capture


def _is_bad_loss(item: Any) -> bool:
    learned = type(item) is Tensor and not item.ndim and item.grad_fn is not None
    return learned and is_bad(item)
