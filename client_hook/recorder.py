"""Drives the signals of one monitor: hears the optimizers, closes steps, and lets the governor choose what is measured.

Not for: the public calls (client_hook.monitor) or what is measured (client_hook.capture).
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.optim import Optimizer

from client_hook import closures
from client_hook.anomaly import LossWatch
from client_hook.capture import signal_types
from client_hook.capture.base import Context, Signal, overrides
from client_hook.capture.learning_rate import LearningRateSignal
from client_hook.capture.loss import LossSignal
from client_hook.governor import Governor
from client_hook.guard import Guard, guarded
from client_hook.steps import StepCounter

_OVERHEAD = ("hook/overhead",)
FAULTS_BEFORE_OFF = 20
FEW_GROUPS = 8
LOOK_AGAIN_AFTER = 64  # steps
WAIT_FOR_STEPS = 32
WAIT_S = 0.1
_PLAIN = frozenset({torch.float32, torch.float16, torch.bfloat16})
REST_AFTER_STEPS = 100  # what a loop does wrong, it does from the beginning


class Recorder:
    """Owns the signals of a monitor from `attach` to `detach`."""

    def __init__(self, context: Context, guard: Guard, types: list[type[Signal]] | None = None) -> None:
        self.context = context
        self.guard = guard
        self.counter = StepCounter(context.step)
        self.governor = Governor(context.options.budget)
        self._anomalies = LossWatch()
        self._signals: list[Signal] = [kind(context) for kind in (types if types is not None else signal_types())]
        self._loss = next((signal for signal in self._signals if isinstance(signal, LossSignal)), None)
        self._handles: list[Any] = []
        self._calling = 0
        self._resting = False
        self._compiled_step = False
        self._alarmed_at = -1  # the step that a signal took for broken before it closed
        self._putting_off = False
        self._rates: dict[str, list[Any]] | None = None
        self._waiting: list[tuple[float, bool, float, list[Any], float]] = []
        self._faults: dict[int, int] = {}
        self._closed_at = perf_counter()
        self._arrange()

    # -- beginning and end -------------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Installs every hook; the first step is measured in full."""
        for key, optimizer in self.context.optimizers.items():
            # the optimizer holds these and so the recorder, which holds no optimizer
            self._handles.append(optimizer.register_step_pre_hook(partial(self.pre_step, key)))
            self._handles.append(optimizer.register_step_post_hook(partial(self.post_step, key)))
        if self._on_backward[True]:
            self.context.patches.subscribe(self)
        self.context.on_skip = self.counter.optimizer_stepped
        self.context.on_alarm = self._alarm
        self._tell_all("attach")
        self._tell(self._arm, True)
        self._closed_at = perf_counter()
        self.context.spent_s = 0.0

    def detach(self) -> None:
        """Takes every hook away; forgets the signals."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.context.patches.unsubscribe(self)
        self.context.on_skip = self.context.on_alarm = None
        self._tell_all("detach")
        self._signals = []
        self._loss = None
        self._arrange()

    def finish(self) -> None:
        """Closes the open step and lets every signal hand over its last words."""
        if self._waiting:
            self._catch_up()
        if self.counter.stepped or self.counter.micro_batches:
            self.context.closed_at = perf_counter()
            self._close(perf_counter())
        self._tell_all("on_finish")
        self.context.readback.flush(wait=True)
        self.context.outbox.complete(self.counter.closed)
        summary = {**self.governor.summary(), "memory_bytes": getattr(self.context.outbox, "peak_bytes", None)}
        self.context.outbox.record("fact", "overhead", self.counter.closed, summary)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def step(self, loss: Any, components: dict[str, Any], began: float) -> bool:
        """Takes one call of `monitor.step`; True when it closed a step."""
        if self._putting_off and not components and self._put_off(loss, began):
            return True
        if self._waiting:
            self._catch_up()
        if self._loss is not None:
            self._loss.take(loss, components)
        counter = self.counter
        self.context.closed_at = began
        if counter.call():
            self._close(began)
            return True
        self.context.micro_batches = counter.micro_batches
        self.context.spent_s += perf_counter() - began
        return False

    def backward(self, root: Tensor) -> None:
        """Hears that `torch.autograd.backward` begins."""
        hearing = self._on_backward[self.context.sampled]
        if hearing:
            began = perf_counter()
            self._tell(hearing, root)
            self.context.spent_s += perf_counter() - began

    def _close(self, began: float) -> None:
        context = self.context
        sampled = context.sampled
        context.micro_batches = self.counter.micro_batches
        step = context.step = self.counter.close()
        now_ms = time.time_ns() // 1_000_000
        self._tell(self._on_close[sampled], step, now_ms, sampled)
        context.micro_batches = 0
        waiting = context.readback.flush()
        context.outbox.complete(step if waiting is None else waiting - 1)
        if self._loss is not None and self._loss.last is not None:
            self._watch_loss(step, self._loss.last)
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

    def _begin_next(self, sampled: bool, next_sampled: bool) -> None:
        self.context.sampled = next_sampled
        if sampled or next_sampled:
            self._tell(self._arm, next_sampled)
        if sampled or next_sampled or self.counter.closed % LOOK_AGAIN_AFTER == 0:
            self._rest(not next_sampled)
        self._putting_off = not next_sampled and self.governor.steps_are_short and self._all_may_wait()

    def _all_may_wait(self) -> bool:
        rates = next((signal for signal in self._signals if isinstance(signal, LearningRateSignal)), None)
        hearing = [signal for signal in self._signals if signal.on_pre_step in self._on_pre_step[False]]
        alone = rates is not None and all(signal in self._keeping for signal in hearing)
        self._rates = rates.rates if rates is not None and alone else None
        return all(signal.may_wait for signal in self._closing_plain)

    # -- short steps: their closing waits until there are several ------------------------------------------------------

    def _put_off(self, loss: Any, began: float) -> bool:
        """Keeps what belongs to a plain step that closes now; False where it is not plain."""
        counter, context = self.counter, self.context
        if not counter.stepped or counter.micro_batches or context.sampled:
            return False
        if type(loss) is Tensor and loss.is_cpu and loss.ndim == 0 and loss.dtype in _PLAIN:
            value, exact = loss.item(), False
        elif type(loss) is float:
            value, exact = loss, True
        else:
            return False
        counter.calls += 1
        counter.closed += 1
        counter.stepped = False
        context.step = counter.closed
        kept = [signal.keep() for signal in self._keeping]
        waiting = self._waiting
        waiting.append((value, exact, began, kept, context.spent_s))
        if len(waiting) >= WAIT_FOR_STEPS or began - waiting[0][2] > WAIT_S or value - value != 0.0:
            self._catch_up()
            context.spent_s = perf_counter() - began
        else:
            context.spent_s = 0.0
            # the call itself belongs to its step
            waiting[-1] = (value, exact, began, kept, waiting[-1][4] + perf_counter() - began)
        return True

    def _catch_up(self) -> None:
        """Closes the steps that wait, in order."""
        waiting, self._waiting = self._waiting, []
        context, governor = self.context, self.governor
        first = context.step - len(waiting) + 1
        ahead_ms = time.time_ns() // 1_000_000 - perf_counter() * 1e3
        sample_next = False
        context.micro_batches = 1
        for step, (value, exact, at, kept, spent) in enumerate(waiting, first):
            if self._loss is not None:
                self._loss.take_number(value, exact)
            for signal, item in zip(self._keeping, kept, strict=True):
                signal.recall(item)
            context.closed_at = at
            self._tell(self._on_close[False], step, int(ahead_ms + at * 1e3), False)
            self._watch_loss(step, value)
            sample_next = governor.after_step(at - self._closed_at, spent, False) or sample_next
            self._closed_at = at
        context.micro_batches = 0
        reading = context.readback.flush()
        context.outbox.complete(context.step if reading is None else reading - 1)
        self._begin_next(False, sample_next)

    def _rest(self, resting: bool) -> None:
        """Lets the signals that may rest do so until the next sampled step, where plain steps cost too much."""
        # a loop in which nothing steps is heard until that is certain
        habits_known = self.counter.optimizer_seen and self.counter.closed >= REST_AFTER_STEPS
        resting = resting and habits_known and self.governor.too_dear
        if resting == self._resting:
            return
        self._resting = resting
        patches = self.context.patches
        for signal in self._signals:
            if signal.may_rest:
                (patches.unsubscribe if resting else patches.subscribe)(signal)
        self._arrange()

    def _watch_loss(self, step: int, loss: float) -> None:
        kind = self._anomalies.look(loss)
        if kind is not None and (self._alarm() or self._alarmed_at == step):
            self.context.outbox.record("event", "anomaly", step, {"kind": kind, "loss": loss})
        if kind is not None and self.context.on_break is not None:
            self._tell([self.context.on_break], kind, step)

    def _alarm(self) -> bool:
        """Asks for full detail for a while; False when that was a moment ago."""
        if not self.governor.alarm():
            return False
        self._alarmed_at = self.context.open_step
        return True

    # -- the optimizers ----------------------------------------------------------------------------------------------

    def pre_step(self, key: str, optimizer: Optimizer, args: Any = (), kwargs: Any = None) -> Any:
        """Runs just before a watched optimizer steps; a closure is handed on inside one of ours on sampled steps."""
        if is_compiling():
            return None
        if self._putting_off and self._rates is not None and len(optimizer.param_groups) <= FEW_GROUPS:
            # all that a plain step needs, without calling anybody
            self._rates[key] = [group.get("lr", 0.0) for group in optimizer.param_groups]
            return None
        hearing = self._on_pre_step[self.context.sampled]
        if not hearing:
            return None
        began = perf_counter()
        changed = None
        if (len(args) > 1 or kwargs) and self.context.sampled:
            changed = closures.replaced(args, kwargs, partial(self._at_gradients, key, weakref.ref(optimizer)))
            if changed is not None:
                hearing = [method for method in hearing if method not in self._at_gradients_too]
        self._tell(hearing, key, optimizer)
        self.context.spent_s += perf_counter() - began
        return changed

    def _at_gradients(self, key: str, reference: weakref.ref[Optimizer]) -> None:
        """Runs after the first evaluation of a closure."""
        optimizer = reference()
        if optimizer is not None and self._signals:
            began = perf_counter()
            with torch.no_grad():
                self._tell(self._at_gradients_too, key, optimizer)
            self.context.spent_s += perf_counter() - began

    def post_step(self, key: str, optimizer: Optimizer, *_: Any) -> None:
        """Runs just after a watched optimizer stepped."""
        if is_compiling():  # a compiled step is counted, which Dynamo keeps beside its graph, and nothing else
            self.counter.stepped = self._compiled_step = True
            return
        self.counter.stepped = self.counter.optimizer_seen = True
        self.context.optimizer_steps += 1
        hearing = self._on_post_step[self.context.sampled]
        if hearing:
            began = perf_counter()
            self._tell(hearing, key, optimizer)
            self.context.spent_s += perf_counter() - began

    # -- the signals -------------------------------------------------------------------------------------------------

    def _arrange(self) -> None:
        """Lists once who hears what, so that a step calls nobody in vain; the keys say whether the step is sampled."""

        resting = self._resting

        def hearing(method: str, *, always: bool) -> list[Callable[..., None]]:
            return [
                getattr(signal, method)
                for signal in self._signals
                if overrides(signal, method) and (always or (signal.every_step and not (resting and signal.may_rest)))
            ]

        self._arm = hearing("arm", always=True)
        every = hearing("on_backward", always=True)
        # heard also by those that rest: the root of a backward is seen then or never
        each_step = [signal.on_backward for signal in self._signals if signal.every_step]
        self._on_backward = {True: every, False: [method for method in every if method in each_step]}
        self._on_close = {sampled: hearing("on_close", always=sampled) for sampled in (True, False)}
        self._on_pre_step = {sampled: hearing("on_pre_step", always=sampled) for sampled in (True, False)}
        self._on_post_step = {sampled: hearing("on_post_step", always=sampled) for sampled in (True, False)}

        self._at_gradients_too = [
            signal.on_pre_step for signal in self._signals if signal.at_gradients and overrides(signal, "on_pre_step")
        ]
        self._closing_plain = [signal for signal in self._signals if signal.on_close in self._on_close[False]]
        self._keeping = [signal for signal in self._signals if overrides(signal, "keep")]

    def _tell_all(self, method: str) -> None:
        self._tell([getattr(signal, method) for signal in self._signals if overrides(signal, method)])

    def _tell(self, hearing: list[Callable[..., None]], *arguments: Any) -> None:
        """Calls each; one that raises is counted, keeps nobody else from hearing, and is switched off in the end."""
        if _call_from(self, hearing, 0, arguments):
            return
        at = self._calling
        self._count_fault(hearing[at])
        while at + 1 < len(hearing) and not _call_from(self, hearing, at + 1, arguments):
            at = self._calling
            self._count_fault(hearing[at])

    def _count_fault(self, method: Callable[..., None]) -> None:
        signal = getattr(method, "__self__", None)
        if not isinstance(signal, Signal):
            return
        faults = self._faults[id(signal)] = self._faults.get(id(signal), 0) + 1
        if faults == FAULTS_BEFORE_OFF and signal in self._signals:
            self._signals.remove(signal)
            _call_from(self, [signal.detach], 0, ())
            self.context.note(f"{type(signal).__name__} failed {faults} times and was switched off.")
            self._arrange()


@guarded(False)
def _call_from(owner: Recorder, hearing: list[Callable[..., None]], first: int, arguments: tuple[Any, ...]) -> bool:
    """Calls one after the other; when one raises, `owner` knows which."""
    for index in range(first, len(hearing)):
        owner._calling = index
        hearing[index](*arguments)
    return True
