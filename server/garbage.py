"""Keeps the garbage collector's pauses short: what has outlived one full collection is not looked at in the next.

Ten thousand sessions are millions of objects, and a full collection visits each of them while all threads wait: 1.7 s,
although next to nothing of it is garbage, because sessions hold no cycles and go as soon as nobody holds them. So what
survives is frozen (`gc.freeze`), and a full collection sees only what was made since. A cycle that dies after it was
frozen is collected in a quiet moment, and at the latest when as much was made since as twice what there is.

Not for: processes that are not ours, such as a notebook in which somebody shows a server.
"""

from __future__ import annotations

import gc
import math
import threading
import time
from collections.abc import Callable
from typing import Any, Self

OLDEST = 2  # the generation of a full collection
LOOK_S = 5.0  # without a request in between is a quiet moment
BETWEEN_S = 600.0  # two thorough collections, and not before something was frozen
# objects made before a collection of the youngest, and how often each generation is collected before the next older
# one: where it looks only at what is new, the oldest may come sooner (usually 10), for pauses of a third
THRESHOLDS = 700, 10, 3
A_FREEZE = math.prod(THRESHOLDS)  # objects at most that are made between two full collections
MOST_MADE = 4_000_000  # objects since the last thorough collection, some 400 MB, before one is not put off any more
TIMES_KEPT = 2
JOIN_S = 5.0


class Garbage:
    """Collects with short pauses while it is entered; `requests` counts what was asked of the server so far."""

    def __init__(self, requests: Callable[[], int], now: Callable[[], float] = time.monotonic) -> None:
        self._requests = requests
        self._now = now
        self._thresholds = gc.get_threshold()
        self._seen = -1
        self._freezes = 0  # since the last thorough collection
        self._kept = 0  # objects that it kept
        self._last = now()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        gc.freeze()  # what the start of the server made stays
        self._kept, self._last = gc.get_freeze_count(), self._now()
        gc.callbacks.append(self._collected)
        gc.set_threshold(*THRESHOLDS)
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the collector as it was."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(JOIN_S)
        gc.set_threshold(*self._thresholds)
        gc.callbacks.remove(self._collected)
        gc.unfreeze()

    def start(self) -> None:
        """Looks every few seconds from now on, in a thread."""
        self._thread = threading.Thread(target=self._work, name="gradwatch-garbage", daemon=True)
        self._thread.start()

    def look(self) -> bool:
        """Collects thoroughly where that is due; says whether it did."""
        requests = self._requests()
        quiet, self._seen = requests == self._seen, requests
        calm = quiet and self._freezes > 0 and self._now() - self._last >= BETWEEN_S
        if not calm and self._freezes * A_FREEZE < max(MOST_MADE, TIMES_KEPT * self._kept):
            return False
        gc.unfreeze()
        gc.collect()  # and freezes what is left
        self._kept, self._freezes, self._last = gc.get_freeze_count(), 0, self._now()
        return True

    def _collected(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "stop" and info["generation"] == OLDEST:
            gc.freeze()
            self._freezes += 1

    def _work(self) -> None:
        while not self._stop.wait(LOOK_S):
            self.look()
