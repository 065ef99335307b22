"""A room for work that others wrote: a thread with a clock.

Whoever asks waits only so long. A thread that does not come back is stopped as soon as it runs Python again; one that
waits inside a call into something else cannot be stopped, and whoever leaves it is told so. Work that keeps the
interpreter to itself inside such a call (a regular expression that backtracks for ever) holds up the whole process:
against that only a process of its own would help.
"""

from __future__ import annotations

import ctypes
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from server.rules.caught import Caught, Stopped

STOP_S = 1.0  # how long a thread that does not come back is told to end
INSIST_EVERY_S = 0.005
THREAD = "gradwatch-own-rules"
STAYS = (
    "its thread could not be stopped: it stays until the server ends, and where it computes it keeps a core busy; "
    "restart the server"
)

Made = TypeVar("Made")


@dataclass
class Job(Generic[Made]):
    """A piece of work: what it gave, or what it raised."""

    work: Callable[[], Made]
    made: Made | None = None
    caught: Caught = field(default_factory=Caught)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Works; whatever the work raises is kept."""
        with self.caught:
            self.made = self.work()
        self.done.set()


class Room:
    """One thread that works through jobs; its owner asks for one at a time."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name=THREAD, daemon=True)
        self._thread.start()

    def ask(self, job: Job[Made], limit_s: float) -> bool:
        """Runs a job; False when it did not end in time: then the room has to be left."""
        self._jobs.put(job)
        return job.done.wait(limit_s)

    def close(self) -> None:
        """Ends the thread after its last job."""
        self._jobs.put(None)

    def leave(self) -> bool:
        """Stops the thread in the midst of its job; False where it could not be stopped.

        It is told again and again: work that catches everything in a loop can be stopped at the turn of the loop alone.
        """
        self._jobs.put(None)
        until = time.monotonic() + STOP_S
        while self._thread.is_alive() and time.monotonic() < until:
            identity = self._thread.ident
            if identity is not None and not self._ended:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(identity), ctypes.py_object(Stopped))
            self._thread.join(INSIST_EVERY_S)
        return not self._thread.is_alive()

    def _work(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                job.run()
        except Stopped:
            self._ended = True
