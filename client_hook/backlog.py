"""Delivers what older processes of the same home left behind, and ends the runs whose process died without a word.

Not for: the running monitor's own frames (client_hook.journal).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from client_hook import process, wire
from client_hook.courier import Courier
from client_hook.recordfile import SpoolBusy
from client_hook.records import sanitise
from client_hook.settings import Settings
from client_hook.spool import Parcel, Spool, SpoolDamaged, files_of
from client_hook.transport import HttpTransport


def spool_files(settings: Settings) -> list[Path]:
    """Lists the spool files of a home, oldest first."""

    def age(path: Path) -> float:
        try:
            return path.stat().st_mtime
        except OSError:
            return 0.0

    return sorted((path for path in files_of(settings.spool_dir) if path.suffix == ".spool"), key=age)


class LeftSpool:
    """Offers the frames of a spool whose process is gone; fills gaps, and appends the status that never came."""

    def __init__(self, spool: Spool, *, value: dict[str, object] | None = None, state: str = "crashed") -> None:
        self.spool = spool
        self._state = state
        self.opening = spool.opening
        self.crashed = not spool.has_final and self._owner_is_dead()
        if self.crashed:
            self._append_crashed(value or {})
        self._gaps = spool.missing()

    def _owner_is_dead(self) -> bool:
        opening = self.opening
        if opening.get("host") != process.host_name() or not isinstance(opening.get("pid"), int):
            return False  # nobody here can know
        return not process.is_alive(opening["pid"], opening.get("process_start"))

    def _append_crashed(self, value: dict[str, object]) -> None:
        step, heard_ms = self.spool.last_complete(), int(self.spool.path.stat().st_mtime * 1000)
        about = {"step": step, "time_ms": heard_ms}
        ending = {"kind": "fact", "name": "ending", **about, "value": {"state": self._state, **value}}
        status = {"kind": "status", "name": self._state, **about, "value": value}
        self._append((*((ending,) if self._state == "crashed" else ()), status), heard_ms, final=True)

    def add(self, name: str, value: dict[str, object]) -> None:
        """Appends a fact that somebody beside the process knows."""
        now_ms = time.time_ns() // 1_000_000
        self._append((sanitise("fact", name, self.spool.last_complete(), now_ms, value),), now_ms)

    def _append(self, records: tuple[dict[str, object], ...], time_ms: int, *, final: bool = False) -> None:
        spool = self.spool
        data = wire.encode(self._frame(spool.next_seq, time_ms, records))
        spool.append(Parcel(data, spool.next_seq, 0, final=final), spool.complete)

    def _frame(self, seq: int, created_ms: int, records: tuple[dict[str, object], ...] = ()) -> wire.Frame:
        return wire.Frame(
            run=self.opening["id"],
            attempt=self.opening["attempt"],
            rank=self.opening["rank"],
            seq=seq,
            created_ms=created_ms,
            complete=-1,
            records=records,
        )

    def peek(self) -> Parcel | None:
        """Gives the next frame; for one that was lost with its process an empty one, so that nothing waits for it."""
        if self._gaps:
            seq = self._gaps[0]
            return Parcel(wire.encode(self._frame(seq, self.opening.get("started_ms", 0))), seq, 0, filler=True)
        return self.spool.peek()

    def acknowledge(self, seq: int) -> bool:
        """Remembers that the server has a frame."""
        if self._gaps and self._gaps[0] == seq:
            self._gaps.pop(0)
        return self.spool.acknowledge(seq)

    def keep(self, seq: int) -> None:
        """Leaves a frame in the file."""
        self.spool.keep(seq)

    def set_aside(self, parcel: Parcel, reason: str) -> None:
        """Moves a frame that the server refused out of the way."""
        self.spool.set_aside(parcel, reason)


class Backlog:
    """Delivers the older spools of a home that were meant for the same server, one call at a time."""

    def __init__(self, settings: Settings, transport: HttpTransport) -> None:
        self._settings = settings
        self._transport = transport
        self._waiting: Iterator[Path] | None = None
        self._left: LeftSpool | None = None
        self._courier: Courier | None = None

    def work(self) -> bool:
        """Makes one call for an older spool; tells whether it got through. Never raises OSError."""
        if self._left is None and not self._next():
            return False
        left, courier = self._left, self._courier
        if left is None or courier is None:
            return False
        try:
            if left.peek() is not None and not courier.turned_away:
                return courier.work() or courier.turned_away
        except OSError:
            pass  # this spool cannot be read or written now; the next start tries again
        self._finish_one()
        return True

    def close(self) -> None:
        """Closes the spool that is being delivered; what is not acknowledged stays."""
        self._finish_one()

    def _finish_one(self) -> None:
        left, self._left, self._courier = self._left, None, None
        if left is not None:
            left.spool.close()

    def _next(self) -> bool:
        if self._waiting is None:
            self._waiting = iter(spool_files(self._settings))
        for path in self._waiting:
            left = open_left(path)
            if left is None:
                continue
            if left.opening.get("url") != self._settings.url:
                left.spool.close()
                continue
            self._left = left
            self._courier = Courier(left, self._transport, left.opening)
            return True
        return False


def open_left(path: Path) -> LeftSpool | None:
    """Opens a spool that nobody is using; None when somebody is, or when it cannot be read."""
    try:
        spool = Spool.open(path)
    except (OSError, SpoolBusy, SpoolDamaged):
        return None
    try:
        return LeftSpool(spool)
    except OSError:
        spool.close()
        return None
