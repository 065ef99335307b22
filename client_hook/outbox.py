"""Takes rows and records from the training thread and gets them to the server, or keeps them for later.

Two daemon threads: one writes the journal, so that a server that hangs delays no writing; the other sends
(client_hook.sender). Not for: what is measured (client_hook.capture).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from client_hook import shutdown
from client_hook.clock import now_ms
from client_hook.guard import Guard, guarded, quietly, run_thread
from client_hook.identity import Identity
from client_hook.journal import AFTER_FINISH, NEVER_WRITTEN, Journal, opening_extras
from client_hook.ledger import Ledger
from client_hook.plain_rows import Bundle, Stretch, rows_of
from client_hook.sender import Sender
from client_hook.settings import Settings

if TYPE_CHECKING:
    from client_hook.transport import HttpTransport

FLUSH_INTERVAL_S = 0.5
FIRST_FLUSH_S = 0.1
LEDGER_INTERVAL_S = 10.0


class Outbox:
    """Delivers what one monitor measures; no call waits for disk or network except `finish`, and none raises."""

    def __init__(
        self,
        identity: Identity,
        settings: Settings,
        opening: dict[str, Any],
        *,
        transport: HttpTransport | None = None,
        say_line: Callable[[str], None] | None = None,
    ) -> None:
        self.identity = identity
        self.settings = settings
        self.guard = Guard(strict=settings.strict, quiet=settings.quiet)
        self._ledger = Ledger()
        for note in settings.notes:
            self._ledger.note(note)
        owner = opening_extras(settings)
        opening = {
            "host": owner["host"],
            "project": settings.project,
            "started_ms": now_ms(),
            **opening,
            "id": identity.run_id,
            "attempt": identity.attempt,
            "rank": identity.rank,
        }
        self._journal = Journal(identity, settings, opening | owner, self._ledger)
        # hand over a plain step at once, or a stretch of them before the first of its steps (client_hook.plain_rows)
        self.put_parts: Callable[[Bundle], None] = self._journal.rows.bundles.append
        self.put_stretch: Callable[[Stretch], None] = self._journal.rows.bundles.append
        self.end_stretch: Callable[[Stretch], None] = self._journal.rows.end_stretch
        self._sender = Sender(identity, settings, opening, self._journal, self._ledger, transport, say_line)
        self._seen_findings: dict[str, Any] = {}
        self._closed = False
        self._finishing = False
        self._stop = False
        self._result: bool | None = None
        self._write_now = threading.Event()
        self._finish_lock = threading.RLock()
        self._threads: list[threading.Thread] = []
        self._ledger_sent = (0, -LEDGER_INTERVAL_S)
        self.look: Callable[[], None] = lambda: None  # at the loop, from the thread that writes

    # -- the training thread ----------------------------------------------------------------------------------------

    @guarded(None)
    def start(self) -> None:
        """Starts the threads; nothing was read from disk or network before they run."""
        shutdown.register(self, self.finish)
        self._threads = [
            run_thread("gradwatch-journal", self.guard, self._write_loop),
            run_thread("gradwatch-sender", self.guard, self._sender.loop),
        ]
        for thread in self._threads:
            thread.start()

    def row(self, step: int, time_ms: int, names: tuple[str, ...], values: Sequence[float], exact: bool = True) -> None:
        """Hands over the values of one step; `exact=False` says that they came from float32 tensors."""
        if self._closed:
            self._ledger.drop(AFTER_FINISH, len(values))
            self._ledger.produce(len(values))
            return
        self._journal.put_row((step, time_ms, names, values, exact))

    def _close(self) -> None:
        self._closed = True
        self.put_parts = self._refuse_parts

    def _refuse_parts(self, bundle: Bundle) -> None:
        for row in rows_of(bundle[0], *bundle[2:]):
            self.row(*row)

    def check_room(self) -> None:
        """Drops what is beyond the limit; for callers of `put_parts`, which does not look."""
        self._journal.rows.make_room()

    def record(self, kind: str, name: str, step: int, value: Any) -> None:
        """Hands over a fact, an event or a status."""
        if not self._closed:
            self._journal.put_record((kind, name, step, now_ms(), value))

    def note(self, sentence: str) -> None:
        """Keeps a sentence for the ledger, once."""
        self._ledger.note(sentence)

    def complete(self, step: int) -> None:
        """Says that all values of steps up to this one were handed over."""
        if step > self._journal.watermark:
            self._journal.watermark = step

    def findings(self) -> list[dict[str, Any]]:
        """Gives the findings that came with the last acknowledgement."""
        return self._sender.findings

    def fresh_findings(self) -> list[dict[str, Any]]:
        """Gives the findings that are new or changed since the last call."""
        fresh = []
        for finding in self._sender.findings:
            key, state = str(finding.get("id")), (finding.get("state"), finding.get("severity"))
            if self._seen_findings.get(key) != state:
                self._seen_findings[key] = state
                fresh.append(finding)
        return fresh

    @property
    def url(self) -> str:
        """Gives the address of the run's page."""
        return self.settings.run_url(self.identity.run_id)

    @property
    def ledger(self) -> dict[str, Any]:
        """Counts what became of every value handed over."""
        counts = self._ledger.as_dict()
        counts["notes"] += self.guard.notes
        return counts

    @property
    def peak_bytes(self) -> int:
        """Gives the most bytes that waited in memory; the limit is the setting's."""
        return self._journal.peak_bytes

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self, state: str, timeout: float, extra: dict[str, Any] | None = None) -> bool:
        """Sends the status and everything before it; True when all of it is acknowledged. Later calls change
        nothing."""
        deadline = monotonic() + max(timeout, 0.0)
        if not self._finish_lock.acquire(timeout=max(timeout, 0.0) + 0.1):
            return False
        try:
            if self._result is None:
                self._finish(state, deadline, extra)
                self._result = self._journal.delivered and not self._sender.kept
            return self._result
        finally:
            self._finish_lock.release()

    def _finish(self, state: str, deadline: float, extra: dict[str, Any] | None) -> None:
        if not self._finishing:
            self._finishing = True
            self._sender.finish()
            step = self._journal.complete
            self._journal.write(now_ms(), patience_s=0.05)
            self._journal.drop_beside()
            self._journal.put_record(("fact", "ledger", step, now_ms(), self._ledger_on_arrival()))
            if extra or state != "finished":
                self._journal.put_record(("fact", "ending", step, now_ms(), {"state": state, **(extra or {})}))
            self._journal.put_record(("status", state, step, now_ms(), extra or {}))
            self._close()
            # in this thread: whatever the others are waiting for, the status is on disk before anything else
            self._journal.write(now_ms(), patience_s=max(deadline - monotonic(), 0.05))
        self._write_now.set()
        self._sender.wake()
        for thread in reversed(self._threads):
            self._join(thread, deadline)
        self._stop = True
        self._write_now.set()
        self._sender.stop()
        for thread in self._threads:
            self._join(thread, monotonic() + 0.5)
        self._journal.close()
        if not any(thread.is_alive() for thread in self._threads):
            self._journal.drop_beside()  # what the other thread measured meanwhile
            self._ledger.drop(NEVER_WRITTEN, self._ledger.as_dict()["queued"])
            self._sender.close()
        shutdown.unregister(self)

    def _ledger_on_arrival(self) -> dict[str, Any]:
        """Gives the ledger as it will be when the last frame has arrived, which is when somebody reads it."""
        ledger = self.ledger
        if self._sender.kept:
            return ledger
        return {
            **ledger,
            "delivered": ledger["produced"] - sum(ledger["dropped"].values()),
            "spooled": 0,
            "queued": 0,
        }

    def _join(self, thread: threading.Thread, deadline: float) -> None:
        if thread is not threading.current_thread() and thread.ident is not None:
            thread.join(max(deadline - monotonic(), 0.0))

    def abandon(self) -> None:
        """Turns into nothing in a forked child: the parent's threads, locks and files are not the child's."""
        self._close()
        self._finishing = True
        self._stop = True
        self._result = False
        self._finish_lock = threading.RLock()
        self._threads = []
        self._journal.abandon()
        self._ledger = Ledger()

    # -- the journal thread ------------------------------------------------------------------------------------------

    def _write_loop(self) -> None:
        self._journal.open()
        interval = FIRST_FLUSH_S
        while True:
            self._write_now.wait(interval)
            self._write_now.clear()
            if self._finishing or self._stop:
                return
            interval = FLUSH_INTERVAL_S
            self._report_ledger()
            quietly(self.look)
            self._journal.write(now_ms())
            self._sender.wake()
            self._sender.tend_call()

    def _report_ledger(self) -> None:
        """Sends the ledger when it has something to tell: a drop or a note."""
        sent, at = self._ledger_sent
        if self._ledger.changes > sent and monotonic() - at >= LEDGER_INTERVAL_S:
            self._ledger_sent = (self._ledger.changes, monotonic())
            self.record("fact", "ledger", self._journal.complete, self.ledger)
