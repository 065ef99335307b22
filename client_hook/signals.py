"""Calls the signals of a monitor: lists once who hears what, and switches off what fails again and again.

Not for: when they are called (client_hook.recorder) or what they measure (client_hook.capture).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from client_hook.capture.base import Context, Signal, overrides
from client_hook.guard import Guard, guarded

FAULTS_BEFORE_OFF = 20

Ears = list[Callable[..., None]]


class Signals:
    """Holds the signals of one monitor, and their methods by when they are called.

    In the dicts the key says whether the step is sampled. A step calls nobody in vain: a method that a signal did not
    write is in no list.
    """

    def __init__(self, context: Context, guard: Guard, kinds: list[type[Signal]]) -> None:
        self.guard = guard
        self.all: list[Signal] = [kind(context) for kind in kinds]
        self._note = context.note
        self._calling = 0
        self._faults: dict[int, int] = {}
        self.arrange()

    def detach(self, *gone: Signal) -> None:
        """Ends signals; the patches tell them nothing any more."""
        for signal in gone:
            signal.context.patches.unsubscribe(signal)
            _call_from(self, [signal.detach], 0, ())

    def clear(self) -> None:
        """Forgets them all."""
        self.all = []
        self.arrange()

    def arrange(self) -> None:
        """Lists who hears what."""

        def hearing(method: str, *, always: bool) -> Ears:
            return [
                getattr(signal, method)
                for signal in self.all
                if overrides(signal, method) and (always or signal.every_step)
            ]

        self.arm = hearing("arm", always=True)
        every = hearing("on_backward", always=True)
        each_step = [signal.on_backward for signal in self.all if signal.every_step]
        self.on_backward = {True: every, False: [method for method in every if method in each_step]}
        self.on_close = {sampled: hearing("on_close", always=sampled) for sampled in (True, False)}
        self.on_pre_step = {sampled: hearing("on_pre_step", always=sampled) for sampled in (True, False)}
        self.on_post_step = {sampled: hearing("on_post_step", always=sampled) for sampled in (True, False)}
        self.resume = hearing("resume", always=True)
        self.at_gradients = [
            signal.on_pre_step for signal in self.all if signal.at_gradients and overrides(signal, "on_pre_step")
        ]
        self.replay_weights = [method for method in self.on_pre_step[True] if _in_replay(method) == "weights"]
        self.replay_gradients = [method for method in self.on_pre_step[True] if _in_replay(method) == "gradients"]
        self.replay_after = [method for method in self.on_post_step[True] if _in_replay(method)]
        self.may_rest = all(signal.may_rest for signal in self.all if signal.every_step)

    def tell_all(self, method: str, *arguments: Any) -> None:
        """Calls one method of every signal that has it."""
        self.tell([getattr(signal, method) for signal in self.all if overrides(signal, method)], *arguments)

    def tell(self, hearing: Ears, *arguments: Any) -> None:
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
        if faults == FAULTS_BEFORE_OFF and signal in self.all:
            self.all.remove(signal)
            self.detach(signal)
            self._note(f"{type(signal).__name__} failed {faults} times and was switched off.")
            self.arrange()


def _in_replay(method: Callable[..., None]) -> str:
    signal = getattr(method, "__self__", None)
    return signal.in_replay if isinstance(signal, Signal) else ""


@guarded(False)
def _call_from(owner: Signals, hearing: Ears, first: int, arguments: tuple[Any, ...]) -> bool:
    """Calls one after the other; when one raises, `owner` knows which."""
    for index in range(first, len(hearing)):
        owner._calling = index
        hearing[index](*arguments)
    return True
