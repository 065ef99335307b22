"""Describes the learning-rate schedulers: the fact `schedulers`. One that is not passed is recognised when it steps.

Not for: the learning rates themselves (learning_rate).
"""

from __future__ import annotations

import weakref
from typing import Any

from torch.optim import lr_scheduler

from client_hook.capture.base import Context, Signal
from client_hook.capture.owned import Owned
from client_hook.guard import quietly

KNOWN_AFTER = 3  # calls; then it is clear whether it steps per batch or per epoch
MAX_TOLD = 200  # metrics, the newest
MAX_CUTS = 20  # of a rate, each told at once; later ones at the end
_CYCLIC = frozenset({"OneCycleLR", "CyclicLR", "CosineAnnealingWarmRestarts"})
_DECAYING = frozenset(
    {"StepLR", "MultiStepLR", "ExponentialLR", "CosineAnnealingLR", "PolynomialLR", "LinearLR", "OneCycleLR"}
)
_INTERNAL = frozenset({"optimizer", "base_lrs", "last_epoch", "verbose", "best", "num_bad_epochs", "cooldown_counter"})


class Plateau:
    """Keeps what a scheduler that waits for a metric (ReduceLROnPlateau) was told, and how often it cut the rate."""

    def __init__(self, scheduler: Any) -> None:
        self._mode = str(getattr(scheduler, "mode", ""))
        self._told: list[float] = []
        self._first: float | None = None
        self._calls = 0
        self._rates: list[float] | None = None
        self.cuts = 0

    def hear(self, scheduler: Any, metric: Any) -> None:
        """Takes a value that it was told; it has read it itself just before, so that nothing waits here."""
        value = quietly(float, metric)
        if not isinstance(value, float):
            return
        self._calls += 1
        if self._first is None:
            self._first = value
        self._told = [*self._told[1 - MAX_TOLD :], value]
        rates = [quietly(float, rate, default=0.0) for rate in getattr(scheduler, "_last_lr", ())]
        if self._rates is not None and any(now < then for now, then in zip(rates, self._rates, strict=False)):
            self.cuts += 1
        self._rates = rates

    def fact(self) -> dict[str, Any]:
        """Makes the key `plateau` of a scheduler."""
        return {
            "mode": self._mode,
            "calls": self._calls,
            "cuts": self.cuts,
            "first": self._first,
            "told": list(self._told),
        }


class _Seen:
    """Holds one scheduler weakly, and how often it stepped."""

    def __init__(self, scheduler: Any, passed: bool, steps_before: int) -> None:
        self.reference = weakref.ref(scheduler)
        self.passed = passed
        self.calls = 0
        self.plateau: Plateau | None = None
        self.told: dict[str, Any] | None = None
        self.first_at = self.last_at = steps_before  # optimizer steps at its first and last call

    @property
    def per(self) -> str | None:
        """Returns what it steps per; None while that is not clear."""
        if self.calls < KNOWN_AFTER:
            return None
        between = (self.last_at - self.first_at) / (self.calls - 1)
        return "step" if between <= 1.5 else "epoch"


class SchedulersSignal(Signal):
    """Listens to every scheduler of the process, and keeps those of the watched optimizers."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._owned = Owned(context)
        self._seen: dict[int, _Seen] = {}
        self._sent: list[dict[str, Any]] = []
        self._changed = False

    def attach(self) -> None:
        """Takes those that were passed to `watch`."""
        given = self.context.options.scheduler
        self.context.options.scheduler = None  # held weakly from here on
        items = given.values() if isinstance(given, dict) else given if isinstance(given, (list, tuple)) else [given]
        for scheduler in items:
            if scheduler is not None:
                self._add(scheduler, passed=True)
        if self._seen:
            self._send(-1)
        self.context.patches.subscribe(self)

    def _add(self, scheduler: Any, passed: bool) -> _Seen:
        seen = self._seen[id(scheduler)] = _Seen(scheduler, passed, self.context.optimizer_steps)
        self._changed = True
        return seen

    def scheduler_step(self, scheduler: Any) -> None:
        """Hears that a scheduler stepped."""
        seen = self._seen.get(id(scheduler))
        if seen is None or seen.reference() is not scheduler:
            optimizer = getattr(scheduler, "optimizer", None)
            if self._owned.key(optimizer) is None and not self._left(optimizer):
                return
            seen = self._add(scheduler, passed=False)
        if seen.calls == 0:
            seen.first_at = self.context.optimizer_steps
        seen.calls += 1
        seen.last_at = self.context.optimizer_steps
        self._changed = self._changed or seen.calls == KNOWN_AFTER

    def plain_scheduler_step(self, scheduler: Any) -> None:
        """Hears the same in a plain step; what is new is told when that closes, which then is heard."""
        self.scheduler_step(scheduler)
        if self._changed:
            self.context.wake()

    def _left(self, optimizer: Any) -> bool:
        """Says whether an optimizer that is not watched holds what is trained here, and never stepped."""
        held = (getattr(optimizer, "param_groups", None) or [{}])[0].get("params") or [None]
        return self.context.parameter_name(held[0]) is not None and not getattr(optimizer, "_opt_called", False)

    def plateau(self, scheduler: Any, metric: Any) -> None:
        """Hears what a scheduler was told that waits for a metric."""
        seen = self._seen.get(id(scheduler))
        if seen is None or seen.reference() is not scheduler:
            return
        seen.plateau = seen.plateau or Plateau(scheduler)
        cuts = seen.plateau.cuts
        seen.plateau.hear(scheduler, metric)
        self._changed = self._changed or cuts < seen.plateau.cuts <= MAX_CUTS

    plain_plateau = plateau

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Sends the fact when one more is known, or its rhythm is."""
        if self._changed:
            self._changed = False
            self._send(step)

    def on_finish(self) -> None:
        """Sends the final counts."""
        if self._seen:
            self._send(self.context.step)

    def _send(self, step: int) -> None:
        for seen in self._seen.values():
            if (scheduler := seen.reference()) is not None:
                seen.told = self._describe(scheduler, seen)
            elif seen.told is not None:
                seen.told |= {"steps": seen.calls, "per": seen.per}
        living = [seen for seen in self._seen.values() if seen.reference() is not None]
        # where all are gone the function that trained has ended before the run
        facts = [{**seen.told} for seen in living or self._seen.values() if seen.told is not None]
        if facts and facts != self._sent:
            self._sent = facts
            self.context.outbox.record("fact", "schedulers", step, facts)

    def _describe(self, scheduler: Any, seen: _Seen) -> dict[str, Any]:
        kind = type(scheduler).__name__
        inner = getattr(scheduler, "_schedulers", None) or []
        kinds = {kind, *(type(item).__name__ for item in inner)}
        return {
            "type": kind,
            "arguments": arguments_of(scheduler),
            "parts": [{"type": type(item).__name__, "arguments": arguments_of(item)} for item in inner],
            "optimizer": self._owned.key(optimizer := getattr(scheduler, "optimizer", None)),
            "left": self._left(optimizer),
            "steps": seen.calls,
            "per": seen.per,
            "cyclic": bool(kinds & _CYCLIC),
            "decays": True if kinds & _DECAYING else None if isinstance(scheduler, lr_scheduler.LambdaLR) else False,
            "passed": seen.passed,
            **({"plateau": seen.plateau.fact()} if seen.plateau is not None else {}),
        }


def arguments_of(scheduler: Any) -> dict[str, Any]:
    """Reads a scheduler's own plain attributes, as they stand."""
    found: dict[str, Any] = {}
    for name, value in vars(scheduler).items():
        if name.startswith("_") or name in _INTERNAL:
            continue
        if name == "milestones" and not isinstance(value, (list, tuple)):
            value = sorted(value.elements()) if hasattr(value, "elements") else list(value)
        if isinstance(value, (bool, int, float, str)):
            found[name] = value
        elif isinstance(value, (list, tuple)) and all(isinstance(item, (bool, int, float, str)) for item in value):
            found[name] = list(value)[:100]
    return found
