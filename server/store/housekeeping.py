"""The thread that keeps the store in order while the server runs: it seals open tails, and rests in between.

Not for: what is sealed, and when (sealing.py).
"""

from __future__ import annotations

import logging
import threading
import time

from server.errors import GradwatchError
from server.store.sealing import Sealer

INTERVAL_S = 0.25
LOOK_AROUND_S = 300.0
MOST_REST_S = 1.0
JOIN_TIMEOUT_S = 10.0

log = logging.getLogger(__name__)


class Housekeeper:
    """Runs the sealer in a daemon thread. A round that took long is followed by a rest: requests come first."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="gradwatch-housekeeping", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after what it is doing."""
        self._stop.set()
        self._thread.join(JOIN_TIMEOUT_S)

    def _work(self) -> None:
        look_at = time.monotonic() + LOOK_AROUND_S
        rest = 0.0
        while not self._stop.wait(max(INTERVAL_S, rest)):
            began = time.monotonic()
            try:
                self._sealer.run_once()
                if began >= look_at:
                    look_at = began + LOOK_AROUND_S
                    self._sealer.look_around()
            except GradwatchError as error:
                log.warning("Sealing pauses: %s", error)
                rest = MOST_REST_S
                continue
            rest = min(0.5 * (time.monotonic() - began), MOST_REST_S)
