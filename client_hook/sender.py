"""Sends what the journal holds from a thread of its own, and says once where the run can be seen.

Between two calls of the server it measures the machine. Not for: one call (courier), what is kept and how (journal), or
the end of a run (outbox).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from client_hook.clock import now_ms
from client_hook.guard import say
from client_hook.identity import Identity
from client_hook.journal import Journal
from client_hook.ledger import Ledger
from client_hook.settings import Settings

if TYPE_CHECKING:
    from client_hook.courier import Courier
    from client_hook.system import SystemSampler
    from client_hook.transport import HttpTransport

CALM_LINE_AFTER_S = 3.0
STUCK_CALL_S = 25.0
TRIES_AT_FINISH = 3


class Sender:
    """Works from `loop` until everything is delivered after `finish`, or until `stop`."""

    def __init__(
        self,
        identity: Identity,
        settings: Settings,
        opening: dict[str, Any],
        journal: Journal,
        ledger: Ledger,
        transport: HttpTransport | None = None,
        say_line: Callable[[str], None] | None = None,
    ) -> None:
        self._settings = settings
        self._opening = opening
        self._journal = journal
        self._ledger = ledger
        self._transport = transport
        self._courier: Courier | None = None
        self._say: Callable[[str], object] = len if settings.quiet else (say_line or say)
        self._url = settings.run_url(identity.run_id)
        self._said_address = settings.quiet or identity.rank != 0
        self._said_calm = self._said_address
        self._started_at = monotonic()
        self._call_began: float | None = None
        self._finishing = False
        self._stopped = False
        self._now = threading.Event()
        self.system_names: dict[tuple[str, ...], tuple[str, ...]] = {}  # what of the machine was measured

    # -- the others --------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Looks for work at once."""
        self._now.set()

    def finish(self) -> None:
        """Ends when all is delivered, or after some tries."""
        self._finishing = True
        self._now.set()

    def stop(self) -> None:
        """Ends, and breaks off the call that is under way."""
        self._stopped = True
        if self._transport is not None:
            self._transport.abort()
        self._now.set()

    def close(self) -> None:
        """Closes the connection, after the thread."""
        if self._transport is not None:
            self._transport.close()

    def tend_call(self) -> None:
        """Says where everything is while the first call waits for its answer, and breaks off one that has none."""
        began, courier = self._call_began, self._courier
        if began is not None and courier is not None and not courier.answered:
            self._say_where(courier)
        if began is not None and self._transport is not None and monotonic() - began > STUCK_CALL_S:
            self._call_began = None
            self._transport.interrupt()

    @property
    def findings(self) -> list[dict[str, Any]]:
        """Gives the findings that came with the last acknowledgement."""
        return list(self._courier.findings) if self._courier is not None else []

    @property
    def kept(self) -> bool:
        """Says whether something stays on this machine that the server did not take."""
        return self._courier is not None and self._courier.kept > 0

    # -- its thread --------------------------------------------------------------------------------------------------

    def loop(self) -> None:
        """Sends, measures the machine and waits by turns."""
        # inside: what only this thread needs (http and ssl above all) does not hold up the import of the training
        from client_hook.backlog import Backlog
        from client_hook.courier import Courier
        from client_hook.system import SystemSampler
        from client_hook.transport import HttpTransport

        if self._transport is None:
            self._transport = HttpTransport(self._settings.url, self._settings.token)
        courier = Courier(
            self._journal,
            self._transport,
            self._opening,
            ledger=self._ledger,
            say=lambda sentence: self._say(f"Gradwatch: {sentence}"),
        )
        self._courier = courier
        backlog = Backlog(self._settings, self._transport)
        system = SystemSampler(monotonic) if self._settings.system else None
        hurried = False
        for note in () if self._said_calm else self._settings.notes:
            self._say(f"Gradwatch: {note}")
        while not self._stopped:
            if system is not None and not self._finishing:
                self._measure(system)
            if self._finishing and not hurried:
                hurried = True
                courier.hurry()
            went_through = self._call(courier.work)
            self._say_where(courier)
            if self._finishing and (self._journal.delivered or courier.failures >= TRIES_AT_FINISH):
                break
            if went_through:
                continue
            if not self._finishing and courier.answered and not courier.problem and self._call(backlog.work):
                continue
            self._now.wait(self._pause(courier))
            self._now.clear()
        backlog.close()

    def _measure(self, system: SystemSampler) -> None:
        values = system.poll()
        if values is not None:
            names = self.system_names.setdefault(tuple(values), tuple(values))
            self._journal.put_beside(now_ms(), names, list(values.values()))

    def _call(self, work: Callable[[], bool]) -> bool:
        self._call_began = monotonic()
        try:
            return work()
        finally:
            self._call_began = None

    def _pause(self, courier: Courier) -> float:
        pause = max(min(courier.wait_s(), 1.0), 0.02) if courier.wait_s() > 0 else 1.0
        if not self._said_calm:
            pause = min(pause, 0.25)
        if self._finishing:
            pause = min(max(courier.wait_s(), 0.02), 0.5)
        return pause

    def _say_where(self, courier: Courier) -> None:
        """Says once where the run can be seen, or that it is kept for later."""
        if courier.answered and not self._said_address:
            self._said_address = self._said_calm = True
            self._say(f"Gradwatch: {self._url}")
        elif not self._said_calm and monotonic() - self._started_at > CALM_LINE_AFTER_S:
            self._said_calm = True
            self._say(
                f"Gradwatch: {self._settings.url} has taken nothing yet{courier.problem and ': '}{courier.problem}. "
                f"The training goes on, {'everything is' if self._journal.on_disk else 'but nothing can be'} kept in "
                f"{self._settings.spool_dir}; deliver it later with: gradwatch sync"
            )
