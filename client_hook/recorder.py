"""Drives the signals of one monitor: hears the optimizers, closes steps, and lets the governor choose what is measured.

Not for: the public calls (client_hook.monitor) or what is measured (client_hook.capture).
"""

from __future__ import annotations

import time
import weakref
from time import perf_counter
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from client_hook.anomaly import LossWatch
from client_hook.capture import signal_types
from client_hook.capture.base import Context, Signal, overrides
from client_hook.capture.loss import LossSignal
from client_hook.governor import Governor
from client_hook.guard import Guard, guarded
from client_hook.steps import StepCounter

_OVERHEAD = ("hook/overhead",)
FAULTS_BEFORE_OFF = 20


class Recorder:
    """Owns the signals of a monitor from `attach` to `detach`."""

    def __init__(self, context: Context, guard: Guard, types: list[type[Signal]] | None = None) -> None:
        self.context = context
        self.guard = guard
        self.counter = StepCounter()
        self.governor = Governor(context.options.budget)
        self._anomalies = LossWatch()
        self._signals: list[Signal] = [kind(context) for kind in (types if types is not None else signal_types())]
        self._loss = next((signal for signal in self._signals if isinstance(signal, LossSignal)), None)
        self._handles: list[Any] = []
        self._hearing: dict[tuple[str, bool], list[Signal]] = {}
        self._faults: dict[int, int] = {}
        self._closed_at = perf_counter()
        self._arrange()

    # -- beginning and end -------------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Installs every hook; the first step is measured in full."""
        for key, optimizer in self.context.optimizers.items():
            self._handles += _optimizer_hooks(self, key, optimizer)
        self.context.patches.subscribe(self)
        for signal in list(self._signals):
            self._safely(signal, "attach")
        for signal in self._hearing["arm", True]:
            self._safely(signal, "arm", True)
        self._closed_at = perf_counter()
        self.context.spent_s = 0.0

    def detach(self) -> None:
        """Takes every hook away; forgets the signals."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.context.patches.unsubscribe(self)
        for signal in self._signals:
            self._safely(signal, "detach")
        self._signals = []
        self._loss = None
        self._arrange()

    def finish(self) -> None:
        """Closes the open step and lets every signal hand over its last words."""
        if self.counter.stepped or self.counter.micro_batches:
            self._close(perf_counter())
        for signal in list(self._signals):
            self._safely(signal, "on_finish")
        self.context.readback.flush(wait=True)
        self.context.outbox.complete(self.counter.closed)
        self.context.outbox.record("fact", "overhead", self.counter.closed, self.governor.summary())

    # -- the loop ----------------------------------------------------------------------------------------------------

    def step(self, loss: Any, components: dict[str, Any], began: float) -> bool:
        """Takes one call of `monitor.step`; True when it closed a step."""
        if self._loss is not None:
            self._loss.take(loss, components, self.guard)
        self.context.micro_batches = self.counter.micro_batches + 1
        if self.counter.call():
            self._close(began)
            return True
        self.context.spent_s += perf_counter() - began
        return False

    def optimizer_skipped(self) -> None:
        """Hears that a gradient scaler left out a watched optimizer's step."""
        self.counter.optimizer_stepped()

    def backward(self, root: Tensor) -> None:
        """Hears that `torch.autograd.backward` begins."""
        for signal in self._hearing["on_backward", True]:
            self._safely(signal, "on_backward", root)

    def _close(self, began: float) -> None:
        context = self.context
        sampled = context.sampled
        step = context.step = self.counter.close()
        now_ms = time.time_ns() // 1_000_000
        for signal in self._hearing["on_close", sampled]:
            self._safely(signal, "on_close", step, now_ms, sampled)
        context.micro_batches = 0
        waiting = context.readback.flush()
        context.outbox.complete(step if waiting is None else waiting - 1)
        self._watch_loss(step)
        before = self._closed_at
        governor = self.governor
        if sampled:
            context.outbox.row(step, now_ms, _OVERHEAD, (governor.report(),), False)
        now = self._closed_at = perf_counter()
        # what arming the next step costs is counted with the next step
        spent, context.spent_s = context.spent_s + (now - began), 0.0
        context.sampled = governor.after_step(now - before, spent, sampled)
        if context.sampled or sampled:
            for signal in self._hearing["arm", context.sampled]:
                self._safely(signal, "arm", context.sampled)
            context.spent_s = perf_counter() - now

    def _watch_loss(self, step: int) -> None:
        loss = self._loss.last if self._loss is not None else None
        if loss is None:
            return
        kind = self._anomalies.look(loss)
        if kind is not None and self.governor.alarm():
            self.context.outbox.record("event", "anomaly", step, {"kind": kind, "loss": loss})

    # -- the optimizers ----------------------------------------------------------------------------------------------

    def pre_step(self, key: str, optimizer: Optimizer) -> None:
        """Runs just before a watched optimizer steps."""
        hearing = self._hearing["on_pre_step", self.context.sampled]
        if hearing:
            began = perf_counter()
            for signal in hearing:
                self._safely(signal, "on_pre_step", key, optimizer)
            self.context.spent_s += perf_counter() - began

    def post_step(self, key: str, optimizer: Optimizer) -> None:
        """Runs just after a watched optimizer stepped."""
        self.counter.stepped = self.counter.optimizer_seen = True
        self.context.optimizer_steps += 1
        hearing = self._hearing["on_post_step", self.context.sampled]
        if hearing:
            began = perf_counter()
            for signal in hearing:
                self._safely(signal, "on_post_step", key, optimizer)
            self.context.spent_s += perf_counter() - began

    # -- the signals -------------------------------------------------------------------------------------------------

    def _arrange(self) -> None:
        """Lists once who hears what, so that a step calls nobody in vain."""
        for method in ("arm", "on_pre_step", "on_post_step", "on_backward", "on_close"):
            hearing = [signal for signal in self._signals if overrides(signal, method)]
            self._hearing[method, True] = hearing
            always = method in ("arm", "on_backward")
            self._hearing[method, False] = [signal for signal in hearing if always or signal.every_step]

    def _safely(self, signal: Signal, method: str, *arguments: Any) -> None:
        if _run(self, signal, method, *arguments) is not None:
            return
        # it raised and the guard took it: a signal that keeps failing is left out
        faults = self._faults[id(signal)] = self._faults.get(id(signal), 0) + 1
        if faults == FAULTS_BEFORE_OFF and signal in self._signals:
            self._signals.remove(signal)
            _run(self, signal, "detach")
            self.context.note(f"{type(signal).__name__} failed {faults} times and was switched off.")
            self._arrange()


@guarded(None)
def _run(owner: Recorder, signal: Signal, method: str, *arguments: Any) -> bool | None:  # noqa: ARG001  owner: its guard
    getattr(signal, method)(*arguments)
    return True


def _optimizer_hooks(recorder: Recorder, key: str, optimizer: Optimizer) -> list[Any]:
    """Registers a hook before and one after the optimizer's step; they hold the recorder weakly."""
    reference = weakref.ref(recorder)

    def before(stepping: Optimizer, *_: Any) -> None:
        if (alive := reference()) is not None:
            alive.pre_step(key, stepping)

    def after(stepping: Optimizer, *_: Any) -> None:
        if (alive := reference()) is not None:
            alive.post_step(key, stepping)

    return [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]
