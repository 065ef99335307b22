"""Takes what hooks send: checks it, stores it, and answers once it is committed.

A frame whose bytes are wrong is refused with a sentence. Not for: HTTP (server.web.ingest_api) or the bytes
(client_hook.wire).
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from client_hook import wire
from client_hook.decoding import FrameTooLarge, decode
from server.domain.accounts import EVERY_PROJECT, Sight
from server.domain.findings import Finding
from server.errors import Busy, ForeignProject, InvalidFrame, TooLarge
from server.ingest.frames import Drops, checked_group, checked_record, summed
from server.ingest.openings import read_opening
from server.ingest.values import ID, ID_WORDS, wrong
from server.live import Live
from server.store import Store
from server.store.accepted import AcceptedFrame
from server.store.frames import FrameReceipt, not_open

RUNS_REMEMBERED = 512
MAX_COLUMNS_OF_A_FRAME = 200_000
MAX_BODIES_BYTES = 256 * 1024 * 1024
MOST_REASONS = 100  # of what was left out of a frame, told one by one

_SHORT = ("id", "code", "name", "severity", "state", "first_step", "message", "advice")

Order = Callable[[Sequence[Finding]], Sequence[Finding]]


@dataclass(frozen=True)
class HandedIn:
    """A frame that was checked and waits for its commit; `receipt` holds the outcome then."""

    run_id: str
    drops: Drops
    receipt: Future[FrameReceipt]


class Ingest:
    """Stores frames and opens runs; safe from any thread."""

    def __init__(self, store: Store, live: Live, clock: Callable[[], int], order: Order = tuple) -> None:
        """`order` sorts the findings with which a frame is answered."""
        self._order = order
        self._store = store
        self._live = live
        self._clock = clock
        self._lock = threading.Lock()
        self._findings: OrderedDict[str, tuple[int, list[dict[str, Any]]]] = OrderedDict()
        self._held = 0

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Counts the bytes of a body while it is in memory; raises Busy where too many are already."""
        with self._lock:
            if self._held and self._held + size > MAX_BODIES_BYTES:
                raise Busy(f"{self._held} bytes of frames wait here already; try again in a second.")
            self._held += size
        try:
            yield
        finally:
            with self._lock:
                self._held -= size

    def accept(self, run_id: str, body: bytes | bytearray) -> dict[str, Any]:
        """Stores one frame and gives the answer of WIRE.md; it is committed when this returns.

        Raises InvalidFrame (TooLarge beyond a limit), UnknownRun, FrameConflict, Busy or StoreError.
        """
        return self.acknowledge(self.hand_in(run_id, body))

    def hand_in(self, run_id: str, body: bytes | bytearray, sight: Sight = EVERY_PROJECT) -> HandedIn:
        """Checks one frame and puts it in line for the next commit, without waiting for it; a run that may not be seen
        is not open here.

        Raises InvalidFrame (TooLarge beyond a limit) and Busy; the rest that `accept` names is in the receipt.
        """
        try:
            frame = decode(body)
        except FrameTooLarge as error:
            raise TooLarge("frame", str(error)) from None
        except wire.FrameError as error:
            raise InvalidFrame("frame", str(error)) from None
        if frame.run != run_id:
            raise InvalidFrame(
                "run", f"run: the frame says {frame.run!r}, the address {run_id!r}; both must be the same"
            )
        if not ID.fullmatch(frame.attempt):
            raise wrong("attempt", frame.attempt, ID_WORDS)
        columns = sum(len(group.columns) for group in frame.groups)
        if columns > MAX_COLUMNS_OF_A_FRAME:
            raise TooLarge("groups", f"groups: {columns} columns, at most {MAX_COLUMNS_OF_A_FRAME} are accepted")
        now = self._clock()
        drops: Drops = defaultdict(int)
        groups = [checked_group(group, now, drops) for group in frame.groups]
        records = [checked_record(record, index, now, drops) for index, record in enumerate(frame.records)]
        if sight.projects is not None and run_id not in self._store.runs.projects_of([run_id], sight):
            raise not_open(f"Run {run_id}")
        receipt = self._store.frames.submit(
            AcceptedFrame(
                run_id=frame.run,
                attempt=frame.attempt,
                rank=frame.rank,
                seq=frame.seq,
                crc=frame.crc,
                complete=frame.complete,
                received_ms=now,
                groups=tuple(group for group in groups if group is not None),
                records=tuple(record for record in records if record is not None),
            )
        )
        return HandedIn(run_id, drops, receipt)

    def acknowledge(self, handed: HandedIn) -> dict[str, Any]:
        """Waits for the commit and gives the answer; raises what the receipt holds."""
        receipt, run_id = handed.receipt.result(), handed.run_id
        if not receipt.duplicate:
            self._live.publish(run_id, "data", receipt.last_step)
            if receipt.state_changed:
                self._live.publish(run_id, "state", receipt.last_step)
        dropped = [
            {"reason": reason, "what": what, "count": count}
            for (reason, what), count in summed(handed.drops, MOST_REASONS).items()
        ]
        dropped += [{"reason": reason, "what": "series", "count": count} for reason, count in receipt.dropped]
        return {
            "seq": receipt.seq,
            "duplicate": receipt.duplicate,
            "contiguous": receipt.contiguous,
            "dropped": dropped,
            "findings": self._short_findings(run_id, receipt.findings_version),
        }

    def open_run(self, payload: Mapping[str, Any], sight: Sight = EVERY_PROJECT) -> dict[str, Any]:
        """Opens a run or an attempt of it, or hears of one that is open; raises InvalidFrame naming the wrong field.

        Whoever may send runs of the projects in `sight` alone gets ForeignProject for another one, whatever is there,
        and UnknownRun for a run that is in another one.
        """
        new = read_opening(payload)
        if not sight.sees(new.project):
            raise ForeignProject(new.project)
        run, attempt, created = self._store.runs.open(new, self._clock(), sight)
        self._live.publish(run.id, "state", run.last_step)
        return {"id": run.id, "attempt": attempt, "url": f"/runs/{run.id}", "created": created}

    def verdict(self, run_id: str) -> list[dict[str, Any]]:
        """Gives the open findings that no other one explains, muted ones too, as they are told when a training ends."""
        found = self._order(self._store.findings.list(run_id))
        return [
            {**_short(finding), "muted": finding.muted}
            for finding in found
            if finding.state == "open" and finding.cause is None
        ]

    def needs_findings(self, handed: HandedIn) -> bool:
        """Says whether the answer to a committed frame has to ask the store, because findings changed."""
        version = handed.receipt.result().findings_version
        with self._lock:
            known = self._findings.get(handed.run_id)
        return version != 0 and (known is None or known[0] != version)

    def _short_findings(self, run_id: str, version: int) -> list[dict[str, Any]]:
        """Gives the open findings that nobody muted, read again only when they changed; 0: there never were any."""
        if version == 0:
            return []
        with self._lock:
            known = self._findings.get(run_id)
            if known is not None and known[0] == version:
                self._findings.move_to_end(run_id)
                return known[1]
        found = [
            _short(finding)
            for finding in self._order(self._store.findings.list(run_id))
            if finding.state == "open" and not finding.muted
        ]
        with self._lock:
            self._findings[run_id] = (version, found)
            self._findings.move_to_end(run_id)
            while len(self._findings) > RUNS_REMEMBERED:
                self._findings.popitem(last=False)
        return found


def _short(finding: Finding) -> dict[str, Any]:
    short = {name: getattr(finding, name) for name in _SHORT}
    return {**short, "cause": None if finding.cause is None else str(finding.cause), "severity": finding.severity.value}
