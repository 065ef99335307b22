"""The thread that sends: it leases what is due, tries each in a thread of its own, and notes what became of it.

Diagnosis and ingest only put rows in line, so they never wait for a receiver. Not for: how it is sent (senders.py).
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from typing import Protocol

from server.alerts.errors import NotSent, Refused
from server.domain.alerts import Due
from server.errors import GradwatchError
from server.store import Store
from server.trouble import Trouble

INTERVAL_S = 1.0
ROUND_S = 1.0  # how long a round waits for its receivers
MOST_AT_ONCE = 16
JOIN_TIMEOUT_S = 2.0
WAITS_S = (10, 30, 120, 600, 1_800, 3_600, 3_600, 3_600)  # after each try that failed; then it is given up

MOST_AGE_MS = 3 * 86_400_000  # a weekend; what is older is tried once more at most

log = logging.getLogger(__name__)


class Sends(Protocol):
    """Sends one piece of news, or raises NotSent."""

    def send(self, due: Due) -> None:
        """Sends it."""


class Dispatcher:
    """Sends what is due; `run_once` is one round, `start` goes round in a daemon thread."""

    def __init__(self, store: Store, senders: Sends, interval_s: float = INTERVAL_S) -> None:
        self._store = store
        self._senders = senders
        self._interval_s = interval_s
        self._owner = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="gradwatch-alerts", daemon=True)
        self._trying: dict[int, threading.Thread] = {}  # by channel: one at a time

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread. What is under way just now is tried again by whoever comes after, under the same key."""
        self._stop.set()
        self._thread.join(JOIN_TIMEOUT_S)

    def run_once(self) -> int:
        """Tries what is due, at most one piece of news a channel; gives how many that were.

        What takes longer than a round goes on beside the next ones, which leave its channel out.
        """
        self._trying = {channel: one for channel, one in self._trying.items() if one.is_alive()}
        room = MOST_AT_ONCE - len(self._trying)
        due = self._store.alerts.claim(self._owner, room, self._trying) if room else []
        for one in due:
            tries = threading.Thread(target=self._try, args=(one,), name="gradwatch-alert", daemon=True)
            self._trying[one.channel.id] = tries
            tries.start()
        until = time.monotonic() + ROUND_S
        for started in self._trying.values():
            while started.is_alive() and time.monotonic() < until and not self._stop.is_set():
                started.join(0.1)
        return len(due)

    def _try(self, due: Due) -> None:
        try:
            self._deliver(due)
        except GradwatchError as error:  # the lease runs out by itself
            log.warning("What became of the alert %d could not be noted: %s", due.id, error)

    def _deliver(self, due: Due) -> None:
        alerts = self._store.alerts
        try:
            self._send(due)
        except Refused as error:
            alerts.give_up(due, self._owner, str(error))
        except NotSent as error:
            if due.tries > len(WAITS_S) or self._store.now_ms() - due.created_ms > MOST_AGE_MS:
                alerts.give_up(due, self._owner, f"{error}; tried {due.tries} times")
            else:
                wait_s = max(WAITS_S[due.tries - 1], error.after_s or 0)
                alerts.again(due, self._owner, int(wait_s * 1_000), str(error))
        else:
            alerts.sent(due, self._owner)

    def _send(self, due: Due) -> None:
        try:
            self._senders.send(due)
        except NotSent:
            raise
        except Exception as error:  # noqa: BLE001 - of a library; its words may hold a secret
            raise NotSent(f"It could not be sent ({type(error).__name__})") from None

    def _work(self) -> None:
        trouble = Trouble(log, "Sending alerts")
        while not self._stop.wait(self._interval_s):
            try:
                self.run_once()
                trouble.over()
            except GradwatchError as error:
                trouble.came(error)
