"""Tells whoever looks at a run that it changed: a small bus between the threads that write and the pages that listen.

It carries no data, only "run R has something new up to step S".
Not for: history; a listener that comes late asks the store.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

PAUSE_S = 0.2
MAX_WAITING = 4_096


@dataclass(frozen=True)
class Change:
    """Says what changed of a run: `kind` is data, findings or state; `step` is the last step that it covers."""

    run_id: str
    kind: str
    step: int


class Live:
    """Passes changes to its subscriptions; every method may be called from any thread."""

    def __init__(self, relay: Callable[[str, str, int], None] | None = None) -> None:
        """`relay` passes what is published here on to other processes, whose changes come in by `hear`."""
        self._relay = relay
        self._lock = threading.Lock()
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    def publish(self, run_id: str, kind: str, step: int) -> None:
        """Tells the subscriptions of the run, and those of all runs, without ever waiting for one."""
        self.hear(run_id, kind, step)
        if self._relay is not None:
            self._relay(run_id, kind, step)

    def hear(self, run_id: str, kind: str, step: int) -> None:
        """Tells the subscriptions of this process of a change, wherever it was made."""
        with self._lock:
            wanted = [each for each in self._subscriptions if each.run_id in (None, run_id)]
        for subscription in wanted:
            subscription.offer(Change(run_id, kind, step))

    def subscribe(self, run_id: str | None, *, pause_s: float = PAUSE_S) -> Subscription:
        """Subscribes the running event loop's task to one run, or to all with None, from this very moment on.

        Use it as `with live.subscribe(run_id) as changes: async for change in changes: …`.
        """
        subscription = Subscription(self, run_id, asyncio.get_running_loop(), pause_s)
        with self._lock:
            if not self._closed:
                self._subscriptions.add(subscription)
        if self._closed:
            subscription.end()
        return subscription

    def close(self) -> None:
        """Ends every subscription, present and future: the server stops."""
        self._closed = True
        self.renew()

    def renew(self) -> None:
        """Ends every subscription, because changes were lost: whoever comes back is told the present state first."""
        with self._lock:
            open_ones, self._subscriptions = self._subscriptions, set()
        for subscription in open_ones:
            subscription.end()

    @property
    def listeners(self) -> int:
        """How many subscriptions are open."""
        with self._lock:
            return len(self._subscriptions)

    def forget(self, subscription: Subscription) -> None:
        """Drops a subscription that has ended."""
        with self._lock:
            self._subscriptions.discard(subscription)


class Subscription:
    """Iterates over the changes of a run; what waits is merged, so a slow reader costs one entry for each run and kind.

    A reader that lets more than MAX_WAITING entries wait is ended: it comes back and asks for the present state, which
    is cheaper for both than to catch up.
    """

    def __init__(self, live: Live, run_id: str | None, loop: asyncio.AbstractEventLoop, pause_s: float) -> None:
        self.run_id = run_id
        self._live = live
        self._loop = loop
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str], Change] = {}
        self._wake = asyncio.Event()
        self._ended = False
        self._resting_until = 0.0
        self._batch: list[Change] = []

    def offer(self, change: Change) -> None:
        """Takes a change from any thread; the newest of a run and kind replaces the one that waits."""
        with self._lock:
            was_empty = not self._waiting
            self._waiting.pop((change.run_id, change.kind), None)  # it comes after what was told before it
            self._waiting[change.run_id, change.kind] = change
            full = len(self._waiting) > MAX_WAITING
        if full:
            self.end()
        elif was_empty:
            self._signal()

    def end(self) -> None:
        """Makes the iteration stop, from any thread."""
        self._ended = True
        self._live.forget(self)
        self._signal()

    def _signal(self) -> None:
        # The loop may have closed while a writer still publishes: then nobody listens any more.
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:
            self._ended = True
            self._live.forget(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._live.forget(self)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Change:
        while not self._batch:
            if self._ended:
                raise StopAsyncIteration
            await self._rest()
            await self._wake.wait()
            self._wake.clear()
            with self._lock:
                self._batch = list(self._waiting.values())[::-1]
                self._waiting = {}
            self._resting_until = self._loop.time() + self._pause_s
        if self._ended:
            raise StopAsyncIteration
        return self._batch.pop()

    async def _rest(self) -> None:
        # A training that sends 500 frames a second must not make its page ask 500 times a second.
        while not self._ended and (left := self._resting_until - self._loop.time()) > 0:
            await asyncio.sleep(min(left, PAUSE_S))
