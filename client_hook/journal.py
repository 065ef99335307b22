"""Turns rows and records into frames and keeps them, in the spool or, while that cannot be written, in memory.

The courier takes the frames from here. Not for: sending, or deciding when to write (client_hook.outbox).
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import Any

from client_hook import mounts
from client_hook.framing import Cut, FrameCutter
from client_hook.identity import Identity
from client_hook.ledger import Ledger
from client_hook.plain_rows import Row
from client_hook.recordfile import SpoolBusy
from client_hook.records import sanitise
from client_hook.rows import RowBuffer
from client_hook.settings import Settings
from client_hook.spool import Acknowledged, Parcel, Spool, SpoolDamaged

ROWS_SHARE = 0.75  # of the memory limit; the rest holds frames while the spool cannot be written
TAKE_BYTES = 8 * 1024 * 1024
MAX_RECORDS_WAITING = 20_000
SYNC_INTERVAL_S = 3.0
RETRY_SPOOL_S = 2.0
NO_STEP = "system metrics after the last step"
AFTER_FINISH = "handed over after finish"
TOO_MANY_RECORDS = "too many records waiting"
NEVER_WRITTEN = "neither disk nor server took it before the end"

Record = tuple[str, str, int, int, Any]


class Journal:
    """Holds everything of one attempt between the training thread and the server's acknowledgement."""

    def __init__(self, identity: Identity, settings: Settings, opening: dict[str, Any], ledger: Ledger) -> None:
        self.ledger = ledger
        self.rows = RowBuffer(int(settings.memory_bytes * ROWS_SHARE), ledger)
        self.watermark = -1  # every value of the steps up to this one was handed over; written by the training thread
        self._bundled = -1  # … and of the plain steps up to this one
        self.peak_bytes = 0  # the most that waited in memory, looked at twice a second
        self.final_waiting = False
        self._records: deque[Record] = deque()
        self._beside: deque[tuple[int, tuple[str, ...], list[float]]] = deque()
        self._told_complete = -1
        self._settings = settings
        self._opening = opening
        self._cutter = FrameCutter(identity, ledger)
        self._memory_limit = int(settings.memory_bytes * (1 - ROWS_SHARE))
        self._memory: deque[tuple[Cut, Parcel]] = deque()
        self._memory_bytes = 0
        self._acknowledged = Acknowledged()
        self._kept = 0
        self._spool: Spool | None = None
        self._spool_retry_at = 0.0
        self._synced_at = 0.0
        self._work = threading.Lock()  # held while cutting and writing, never while sending
        self._memory_lock = threading.Lock()

    # -- the training thread ----------------------------------------------------------------------------------------

    def put_row(self, row: Row) -> None:
        """Takes a row over."""
        self.rows.put(row)

    def put_record(self, record: Record) -> None:
        """Takes a record over; beyond a limit the oldest goes."""
        self._records.append(record)
        if len(self._records) > MAX_RECORDS_WAITING:
            try:
                self._records.popleft()
            except IndexError:
                return
            self.ledger.note(f"Records were dropped: {TOO_MANY_RECORDS} (more than {MAX_RECORDS_WAITING}).")

    def put_beside(self, time_ms: int, names: tuple[str, ...], values: list[float]) -> None:
        """Takes values over that belong to no step by themselves: they join the next one that is complete."""
        self._beside.append((time_ms, names, values))
        self.ledger.produce(len(values))

    @property
    def complete(self) -> int:
        """Gives the last step of which every value was handed over."""
        return max(self.watermark, self._bundled, self.rows.complete)

    @property
    def on_disk(self) -> bool:
        """Says whether the spool took everything so far."""
        return not self._spool_retry_at

    # -- the journal thread ------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Opens the spool file; where that fails, the frames wait in memory and it is tried again."""
        with self._work:
            self._open_spool()

    def write(self, now_ms: int, *, patience_s: float = -1) -> bool:
        """Cuts what was handed over into frames and journals them; False when another thread holds the pen."""
        if not self._work.acquire(timeout=patience_s):
            return False
        try:
            self.peak_bytes = max(self.peak_bytes, self.rows.waiting_bytes + self._memory_bytes)
            self._rescue()
            while self._memory_bytes < self._memory_limit:
                # read first: rows handed over before it are then surely taken
                watermark = self._bundled = self.complete
                rows = self.rows.take(TAKE_BYTES)
                more = bool(self.rows)
                if not more and watermark > self._told_complete:
                    # a step that was told to be complete may get no values after that
                    self._told_complete = watermark
                    rows += [(watermark, *item, True) for item in self._take_beside()]
                records = [] if more else self._take_records()
                for cut in self._cutter.cut(rows, records, -1 if more else watermark, now_ms):
                    self._keep(cut)
                if not more:
                    break
            self._sync()
        finally:
            self._work.release()
        return True

    def _take_beside(self) -> list[tuple[int, tuple[str, ...], list[float]]]:
        return [self._beside.popleft() for _ in range(len(self._beside))]

    def drop_beside(self) -> None:
        """Counts what found no step to join before the end."""
        self.ledger.drop(NO_STEP, sum(len(values) for _, _, values in self._take_beside()))

    def _take_records(self) -> list[dict[str, Any]]:
        records = []
        for _ in range(len(self._records)):
            kind, name, step, time_ms, value = self._records.popleft()
            records.append(sanitise(kind, name, step, time_ms, value))
        return records

    def _keep(self, cut: Cut) -> None:
        self.final_waiting = self.final_waiting or cut.final
        parcel = Parcel(cut.data, cut.seq, cut.values, cut.final)
        if not self._memory and self._append(parcel, cut.complete):
            self.ledger.framed(cut.values)  # now, and not before: until then a crash would lose them
            return
        with self._memory_lock:
            self._memory.append((cut, parcel))
            self._memory_bytes += len(parcel.data)

    def _append(self, parcel: Parcel, complete: int) -> bool:
        if self._spool is None and time.monotonic() >= self._spool_retry_at:
            self._open_spool()
        if self._spool is None or time.monotonic() < self._spool_retry_at:
            return False
        try:
            self._spool.append(parcel, complete)
        except OSError as error:
            self._spool_failed(error)
            return False
        return True

    def _rescue(self) -> None:
        """Writes frames that wait in memory to the spool as soon as that works again."""
        while self._memory and time.monotonic() >= self._spool_retry_at:
            cut, parcel = self._memory[0]
            if parcel.seq not in self._acknowledged and not self._append(parcel, cut.complete):
                return
            self._forget(parcel.seq)

    def _forget(self, seq: int) -> None:
        with self._memory_lock:
            if self._memory and self._memory[0][1].seq == seq:
                self._pop()

    def _pop(self) -> None:
        """Takes the oldest frame out of memory: it is on disk, or the server has it."""
        cut, parcel = self._memory.popleft()
        self._memory_bytes -= len(parcel.data)
        self.ledger.framed(cut.values)

    def _open_spool(self) -> None:
        try:
            spool = Spool.create(self._settings.spool_dir, self._opening, quota_bytes=self._settings.spool_bytes)
        except (OSError, SpoolBusy, SpoolDamaged) as error:
            self._spool_failed(error)
            return
        if spool.next_seq > self._cutter.seq and self._cutter.seq == 0:
            self._cutter.seq = spool.next_seq  # this attempt was begun by a process before us
            self._acknowledged = spool.acknowledged
        else:
            spool.acknowledged = self._acknowledged
        spool.keep_file = "job" in self._opening
        self._spool = spool
        kind = mounts.network_kind(spool.path)
        if kind is not None:
            self.ledger.note(
                f"The spool is on a network file system ({kind}): {self._settings.spool_dir}. Writing may be slow or "
                "unlocked there; set GRADWATCH_HOME to a local folder."
            )

    def _spool_failed(self, error: Exception) -> None:
        self._spool_retry_at = time.monotonic() + RETRY_SPOOL_S
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        self.ledger.note(f"The spool could not be written ({reason}); frames wait in memory meanwhile.")

    def _sync(self) -> None:
        now = time.monotonic()
        if self._spool is not None and now - self._synced_at > SYNC_INTERVAL_S:
            self._synced_at = now
            try:
                self._spool.sync()
            except OSError as error:
                self._spool_failed(error)

    # -- the courier thread ------------------------------------------------------------------------------------------

    def peek(self) -> Parcel | None:
        """Gives the next frame that waits: first the spool's, then what could not be written."""
        spool = self._spool
        parcel = spool.peek() if spool is not None else None
        if parcel is not None:
            return parcel
        with self._memory_lock:
            while self._memory:
                parcel = self._memory[0][1]
                if parcel.seq not in self._acknowledged:
                    return parcel
                self._pop()
        return None

    def acknowledge(self, seq: int) -> bool:
        """Remembers that the server has a frame."""
        new = self._spool.acknowledge(seq) if self._spool is not None else self._acknowledged.add(seq)
        self._forget(seq)
        return new

    def keep(self, seq: int) -> None:
        """Leaves a frame where it is and goes on with the next."""
        self._kept += 1
        if self._spool is not None:
            self._spool.keep(seq)
        self._forget(seq)

    def set_aside(self, parcel: Parcel, reason: str) -> None:
        """Moves a frame that the server refused out of the way."""
        if self._spool is None:
            return
        try:
            self._spool.set_aside(parcel, reason)
        except OSError as error:
            self._spool_failed(error)

    # -- the end -----------------------------------------------------------------------------------------------------

    @property
    def delivered(self) -> bool:
        """Tells whether every frame and the status are acknowledged."""
        nothing_waits = not self.rows and not self._records
        return nothing_waits and self.final_waiting and self._acknowledged.below >= self._cutter.seq

    def close(self) -> None:
        """Closes the spool; it is deleted when everything is delivered."""
        if self._spool is not None:
            self._spool.close()

    def abandon(self) -> None:
        """Lets go of everything in a forked child, without touching what the parent owns."""
        self.rows.clear()
        self._records.clear()
        if self._spool is not None:
            self._spool.abandon()


def opening_extras(settings: Settings) -> dict[str, Any]:
    """Gives what a spool's opening tells beyond the run: who owns it, and where it was meant to go."""
    from client_hook import process  # inside: only the making of an opening needs it

    pid = os.getpid()
    job = os.environ.get("GRADWATCH_JOB")  # `gradwatch run` waits for the end of the process
    return {
        **({"job": job} if job else {}),
        "spool": 1,
        "url": settings.url,
        "pid": pid,
        "process_start": process.start_time(pid),
        "host": process.host_name(),
    }
