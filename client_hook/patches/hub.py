"""Keeps who listens, and installs the wrappers with the first listener and removes them with the last.

Not for: which functions are wrapped (calls, losses) or how an attribute is replaced (attributes).
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from client_hook.guard import Guard, shielded
from client_hook.patches import calls, cuda_graphs, dropout, losses
from client_hook.patches.attributes import Replacement

Ear = Callable[..., None]
MAX_SHARES = 64


class Ears:
    """Holds who hears what, for one set of wrappers; an empty tuple costs the wrapped function a loop over nothing.

    Each installation has its own. A wrapper that could not be taken away, because somebody wrapped it since, stays deaf
    when the next set comes: nothing is heard twice.
    """

    EVENTS = (
        "backward",
        "after_backward",
        "clip",
        "zero_grad",
        "scheduler_step",
        "plateau",
        "loss_call",
        "loss_failed",
        "unlearned",
        "bad_loss",
        "bad_result",
        "attention",
        "dropout",
        "batch",
        "drawn",
        "scale",
        "saved",
        "graph_capture",
        "before_replay",
        "graph_replay",
    )
    __slots__ = (*EVENTS, "bound", "elsewhere", "result", "saving", "seen", "targets")

    def __init__(self) -> None:
        self.targets: weakref.ref[Tensor] | None = None  # of the newest call of a loss function, in training
        self.result: weakref.ref[Tensor] | None = None  # of the same call
        self.seen: Any = None  # the targets of a loss that was nothing odd, until the next one
        self.bound: float | None = None  # in plain steps: a loss up to this is nothing that anybody wants to hear of
        self.elsewhere = False  # whether any such result lay on a device: then none may be read here and now
        self.saving = False  # whether a call of torch.save is under way
        self.deafen()

    def deafen(self) -> None:
        """Lets nobody hear anything."""
        self.bound = self.seen = None
        for event in self.EVENTS:
            setattr(self, event, ())

    if TYPE_CHECKING:

        def __getattr__(self, event: str) -> tuple[Ear, ...]: ...


class Patches:
    """Passes calls on to listeners. A listener has any of these methods; none may keep what it is given.

    `backward(root)` before and `after_backward(root)` after `torch.autograd.backward`;
    `clip(kind, parameters, limit, total_norm, norm_type)`, kind "norm" or "value", before the gradients change;
    `zero_grad(optimizer)`, `scheduler_step(scheduler)` and `loss_call(function, args, kwargs, result)` after the call;
    `plateau(scheduler, metric)` after `scheduler_step` of one that is told a metric;
    `loss_failed(function, args, kwargs)` when a loss function raised; `unlearned(function, args, kwargs, result)` after
    a call without gradients, of which nothing is learned; `bad_loss(root)` before a backward from a scalar on the host
    that is not finite, `bad_result(result)` after a loss function gave one, the one or the other while steps are plain;
    `attention(args, kwargs)` after fused attention;
    `dropout(function, p, training)` after a call of a dropout function, between `hear_dropout` and `ignore_dropout`;
    `batch(loader, wait_s, epoch_start)`;
    `drawn(loader, batch)`; `scale(scaler)`; `saved()` after `torch.save`;
    `graph_capture()` before a CUDA graph is captured, `before_replay(graph)` and `graph_replay(graph)` around a replay.

    While a CUDA graph is captured nobody hears anything.
    While a monitor's step is plain (`set_plain`), its listeners hear only what they have a method `plain_<event>` for.
    """

    def __init__(self) -> None:
        self.owners = 0  # how many monitors listen: with one, every call is its own
        self._listeners: dict[int, Any] = {}
        self._hearing: dict[int, _Hearing] = {}
        self._plain: frozenset[int] = frozenset()  # contexts, by id, negative where loss functions alone make the loss
        self.hushed = False
        self._shares: dict[frozenset[int], list[tuple[Ear, ...]]] = {}  # which are plain → the ears of each event
        self._installed: list[Replacement] = []
        self._dropouts: list[Replacement] = []
        self._hearing_dropout: set[int] = set()  # listeners, by id
        self._ears = Ears()
        self._lock = threading.RLock()

    def subscribe(self, listener: Any) -> None:
        """Passes calls on to this listener; the first one brings the wrappers."""
        with self._lock:
            self._listeners[id(listener)] = listener
            self._hearing[id(listener)] = _Hearing(listener)
            self._count()
            if not self._installed:
                self._installed = [
                    *calls.install(self._ears),
                    *losses.install(self._ears),
                    *cuda_graphs.install(self._ears, self.hush),
                ]

    def unsubscribe(self, listener: Any) -> None:
        """Passes nothing on any more; the last one takes the wrappers away. A stranger is no error."""
        with self._lock:
            if self._listeners.pop(id(listener), None) is None:
                return
            del self._hearing[id(listener)]
            self.ignore_dropout(listener)
            self._count()
            if not self._listeners:
                installed, self._installed = self._installed, []
                for replacement in reversed(installed):
                    replacement.restore()
                self._ears = Ears()
                self.hushed = False
                cuda_graphs.capture.graph = cuda_graphs.capture.between = None

    def forget(self) -> None:
        """Lets every listener go, in a forked child, where nobody lets go of the lock that a thread held. The last of
        them to leave takes the wrappers away, so one is left to do that."""
        self._lock = threading.RLock()
        for listener in list(self._listeners.values())[:1]:
            self._listeners = {id(listener): listener}
            self._hearing = {id(listener): _Hearing(listener)}
            self._hearing_dropout.clear()
            self.unsubscribe(listener)

    def hush(self, hushed: bool) -> None:
        """Lets nobody hear what is done from now on, which is no part of a training, or all again."""
        with self._lock:
            self.hushed = hushed
            self._share_out()

    def hear_dropout(self, listener: Any) -> None:
        """Wraps the dropout functions too, until every listener that asked for it ignores them again."""
        with self._lock:
            if id(listener) in self._listeners:
                self._hearing_dropout.add(id(listener))
                self._dropouts = self._dropouts or [*dropout.install(self._ears)]

    def ignore_dropout(self, listener: Any) -> None:
        """Says that one listener does not care for dropout now; with the last one the wrappers go."""
        with self._lock:
            self._hearing_dropout.discard(id(listener))
            if not self._hearing_dropout:
                wrapped, self._dropouts = self._dropouts, []
                for replacement in reversed(wrapped):
                    replacement.restore()

    def set_plain(self, context: Any, plain: bool, *, alone: bool = False) -> None:
        """Says whether the open step of one monitor is plain: then nearly nobody hears its calls. `alone`: what it goes
        backward from are results of loss functions, so that nobody need be asked there."""
        with self._lock:
            others = self._plain - {id(context), -id(context)}
            self._plain = others | {-id(context) if alone else id(context)} if plain else others
            self._share_out()

    def expect(self, context: Any, bound: float) -> None:
        """Says which losses need not be looked at closely while steps are plain, where one monitor alone listens: those
        up to a bound, or all where the backward begins at something else, which is looked at there."""
        ears = self._ears
        with self._lock:
            if not (ears.loss_call or ears.elsewhere) and self._plain in ({id(context)}, {-id(context)}):
                ears.bound = bound if -id(context) in self._plain else losses.ANY
                ears.targets = None  # those of an odd loss are taken down again

    def is_newest_loss(self, told: float | None) -> bool:
        """Says whether a number is the result of the newest call of a loss function, in training and on the host."""
        result = self._ears.result() if told is not None and self._ears.result is not None else None
        return result is not None and result.is_cpu and result.ndim == 0 and result.item() == told

    def is_newest(self, targets: Any) -> bool:
        """Says whether the newest loss that is learned from had these targets."""
        return targets is not None and targets is self.targets

    def tell(self, context: Any, event: str, *arguments: Any) -> None:
        """Passes one call on to the listeners of one monitor, as if its step were not plain."""
        for hearing in list(self._hearing.values()):
            if hearing.context == id(context) and event in hearing.full:
                hearing.full[event](*arguments)

    @property
    def targets(self) -> Tensor | None:
        """Gives the targets of the newest loss that is learned from, if they are still alive."""
        ears = self._ears
        if isinstance(ears.seen, Tensor):
            return ears.seen
        return ears.targets() if ears.targets is not None else None

    @property
    def saving(self) -> bool:
        """Says whether a call of torch.save is under way."""
        return self._ears.saving

    @property
    def stuck(self) -> bool:
        """Says whether a wrapper rests for good, since without it something was compiled."""
        return any(replacement.stuck for replacement in self._installed)

    @property
    def installed(self) -> bool:
        """Says whether torch's functions are wrapped now."""
        return bool(self._installed)

    def _count(self) -> None:
        contexts = {item.context for item in self._hearing.values() if item.context is not None}
        self.owners = len(contexts)
        self._plain &= contexts | {-context for context in contexts}
        self._shares.clear()
        self._share_out()

    def _share_out(self) -> None:
        if self.hushed:
            self._ears.deafen()
            return
        shares = self._shares.get(self._plain)
        if shares is None:
            hearing = [item.in_steps(self._plain) for item in self._hearing.values()]
            shares = [tuple(ears[event] for ears in hearing if event in ears) for event in Ears.EVENTS]
            if len(self._shares) > MAX_SHARES:
                self._shares.clear()
            self._shares[self._plain] = shares
        self._ears.bound = self._ears.seen = None
        for event, ears in zip(Ears.EVENTS, shares, strict=True):
            setattr(self._ears, event, ears)
        for replacement in self._installed:
            if replacement.events:
                heard = any(getattr(self._ears, event) for event in replacement.events)
                replacement.rest(bool(self._plain) and not heard)


class _Hearing:
    """Holds what one listener hears; an error of ours stays with its guard, and its time counts, but for that of plain
    steps, which are too short to be measured call by call."""

    def __init__(self, listener: Any) -> None:
        context = getattr(listener, "context", None)
        guard: Guard | None = getattr(listener, "guard", None) or getattr(context, "guard", None)
        self.context = None if context is None else id(context)
        self.full, self.plain = (
            {
                event: shielded(method, guard, None if prefix else context)
                for event in Ears.EVENTS
                if (method := getattr(listener, prefix + event, None)) is not None
            }
            for prefix in ("", "plain_")
        )
        self.plain_alone = {event: ear for event, ear in self.plain.items() if event != "bad_loss"}
        self.plain.pop("bad_result", None)

    def in_steps(self, plain: frozenset[int]) -> dict[str, Ear]:
        """Gives who hears what, when the steps of these contexts are plain."""
        if self.context in plain:
            return self.plain
        return self.plain_alone if self.context is not None and -self.context in plain else self.full


patches = Patches()  # of this process: torch's functions are wrapped once, however many monitors there are
