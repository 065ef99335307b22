"""The thread that keeps the store in order while the server runs: it seals open tails, takes deleted runs away and
retires old ones, and rests in between.

Not for: what is sealed (sealing.py) or how a run is deleted (deletion.py).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from server.errors import GradwatchError
from server.store.runs import Runs
from server.store.sealing import Sealer
from server.trouble import Trouble

INTERVAL_S = 0.25
LOOK_AROUND_S = 300.0
TIDY_UP_S = 5.0
MOST_REST_S = 1.0
JOIN_TIMEOUT_S = 10.0
DAY_MS = 24 * 3_600 * 1_000
KEPT_AFTER_DELETION_MS = DAY_MS

log = logging.getLogger(__name__)


class Housekeeper:
    """Works in a daemon thread. A round that took long is followed by a rest: requests come first.

    `keep_days` None keeps every run for ever.
    """

    def __init__(self, sealer: Sealer, runs: Runs, clock: Callable[[], int], keep_days: float | None = None) -> None:
        self._sealer = sealer
        self._runs = runs
        self._clock = clock
        self._keep_days = keep_days
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="gradwatch-housekeeping", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after what it is doing."""
        self._stop.set()
        self._thread.join(JOIN_TIMEOUT_S)

    def tidy_up(self) -> None:
        """Retires runs that are too old, and takes away for good those that were deleted a day ago."""
        now = self._clock()
        if self._keep_days is not None:
            self._runs.retire(now - int(self._keep_days * DAY_MS), now)
        self._runs.purge(now - KEPT_AFTER_DELETION_MS)

    def _work(self) -> None:
        look_at = time.monotonic() + LOOK_AROUND_S
        tidy_at = 0.0
        rest = 0.0
        trouble = Trouble(log, "Housekeeping")
        while not self._stop.wait(max(INTERVAL_S, rest)):
            began = time.monotonic()
            try:
                self._sealer.run_once(stopped=self._stop.is_set)
                if began >= tidy_at:
                    tidy_at = began + TIDY_UP_S
                    self.tidy_up()
                if began >= look_at:
                    look_at = began + LOOK_AROUND_S
                    self._sealer.look_around()
                trouble.over()
            except GradwatchError as error:
                trouble.came(error)
                rest = MOST_REST_S
                continue
            rest = min(0.5 * (time.monotonic() - began), MOST_REST_S)
