"""Keeps the frames of one process of an attempt until a server has acknowledged them.

The frames are records of a file that only grows; the first record is the opening JSON. What is acknowledged stands in
a small file beside it. Not for: the bytes of the file (client_hook.recordfile), finding older spools
(client_hook.backlog).
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client_hook import wire
from client_hook.recordfile import RecordFile, packed

OPENING, FINAL = 1, 2
COMPACT_FROM_BYTES = 4 * 1024 * 1024
QUOTA_CHECK_S = 10.0


class SpoolDamaged(Exception):
    """Says that a spool cannot even tell which run it belongs to."""


@dataclass(eq=False, repr=False)
class Parcel:
    """Holds one frame on its way: its bytes and what the sender must know of them."""

    data: bytes
    seq: int
    values: int
    final: bool = False
    filler: bool = False


class Acknowledged:
    """Remembers which seqs a server has; compact, because they come almost in order."""

    def __init__(self, below: int = 0, beyond: set[int] | None = None) -> None:
        self.below = below
        self.beyond = beyond or set()

    def add(self, seq: int) -> bool:
        """Adds a seq; tells whether it is new."""
        if seq in self:
            return False
        self.beyond.add(seq)
        while self.below in self.beyond:
            self.beyond.discard(self.below)
            self.below += 1
        return True

    def __contains__(self, seq: int) -> bool:
        return seq < self.below or seq in self.beyond


class Spool:
    """Appends, reads back and finally deletes the frames of one (run, attempt, rank); safe between two threads."""

    def __init__(self, file: RecordFile, opening: dict[str, Any], *, quota_bytes: int = 2**63) -> None:
        self.path = file.path
        self.opening = opening
        self.acknowledged = Acknowledged()
        self.complete = -1
        self.next_seq = 0
        self.has_final = False
        self.kept = 0
        self.keep_file = False  # somebody beside this process adds to it and deletes it
        self._file = file
        self._lock = threading.RLock()
        self._quota = quota_bytes
        self._others_bytes, self._others_at = 0, -QUOTA_CHECK_S
        self._start = 0
        self._cursor = 0
        self._acks_unsaved = False

    # -- opening --------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, folder: Path, opening: dict[str, Any], *, quota_bytes: int = 2**63) -> Spool:
        """Makes the spool of an attempt, or goes on with the one that is there; raises OSError or SpoolBusy."""
        path = folder / opening["id"] / f"{opening['attempt']}-{opening['rank']}.spool"
        try:
            file = RecordFile.create(path)
        except FileExistsError:
            return cls.open(path, quota_bytes=quota_bytes)
        spool = cls(file, opening, quota_bytes=quota_bytes)
        try:
            file.append(json.dumps(opening, separators=(",", ":")).encode(), 0, 0, OPENING)
        except OSError:
            spool.close()
            path.unlink(missing_ok=True)
            raise
        spool._start = spool._cursor = file.size
        return spool

    @classmethod
    def open(cls, path: Path, *, quota_bytes: int = 2**63) -> Spool:
        """Opens a spool that somebody left; cuts a torn tail off. Raises OSError, SpoolBusy or SpoolDamaged."""
        file = RecordFile.open(path)
        try:
            spool = cls(file, {}, quota_bytes=quota_bytes)
            spool._scan()
        except (OSError, SpoolDamaged):
            file.close()
            raise
        return spool

    def _scan(self) -> None:
        file = self._file
        first = file.at(0)
        try:
            self.opening = json.loads(first.payload) if first is not None and first.flags & OPENING else {}
        except ValueError:
            self.opening = {}
        if first is None or not isinstance(self.opening, dict) or not {"id", "attempt", "rank"} <= self.opening.keys():
            raise SpoolDamaged(f"{self.path} does not begin with the opening of a run; it is left as it is")
        self._start = self._cursor = whole = first.end
        self._load_acknowledged()
        for record, end in file.walk(self._start):
            whole = end
            if record is None:
                continue
            self.next_seq = max(self.next_seq, record.seq + 1)
            self.has_final = self.has_final or bool(record.flags & FINAL)
        if whole < file.size:
            file.cut(whole)
        self.next_seq = max(self.next_seq, self.acknowledged.below, *(seq + 1 for seq in self.acknowledged.beyond), 0)

    def _load_acknowledged(self) -> None:
        try:
            saved = json.loads(self._acknowledged_path.read_text(encoding="utf-8"))
            self.acknowledged = Acknowledged(int(saved["below"]), {int(seq) for seq in saved["beyond"]})
            self.complete = int(saved.get("complete", -1))
        except (OSError, ValueError, KeyError, TypeError):
            self.acknowledged = Acknowledged()  # everything is sent again, and the server knows duplicates

    @property
    def _acknowledged_path(self) -> Path:
        return self.path.with_suffix(".acked")

    @property
    def refused_path(self) -> Path:
        """Names the file for frames that a server refused for good."""
        return self.path.with_suffix(".refused")

    # -- writing --------------------------------------------------------------------------------------------------

    def append(self, parcel: Parcel, complete: int) -> None:
        """Appends a frame; raises OSError when the disk or the quota says no, and the file stays whole."""
        with self._lock:
            self._check_quota(len(parcel.data))
            self._compact()
            self._file.append(parcel.data, parcel.seq, parcel.values, FINAL if parcel.final else 0)
            self.next_seq = max(self.next_seq, parcel.seq + 1)
            self.complete = max(self.complete, complete)
            self.has_final = self.has_final or parcel.final

    def _check_quota(self, more: int) -> None:
        now = time.monotonic()
        if now - self._others_at > QUOTA_CHECK_S:
            self._others_at = now
            self._others_bytes = folder_bytes(self.path.parent.parent) - self._file.size
        if self._others_bytes + self._file.size + more > self._quota:
            raise OSError(errno.EDQUOT, f"the spool folder has reached its quota of {self._quota} bytes")

    def _compact(self) -> None:
        """Empties a file whose frames are all acknowledged, so that a long run with a good server stays small."""
        size = self._file.size
        if self._cursor == size and size - self._start > COMPACT_FROM_BYTES and not self.kept:
            self._save_acknowledged(durable=True)
            self._file.cut(self._start)
            self._cursor = self._start

    def sync(self) -> None:
        """Makes what was written survive a power cut; raises OSError."""
        self._file.sync()
        with self._lock:
            self._save_acknowledged()

    # -- reading --------------------------------------------------------------------------------------------------

    def peek(self) -> Parcel | None:
        """Reads the next frame that waits, without taking it out."""
        with self._lock:
            for record, end in self._file.walk(self._cursor):
                if record is not None and record.seq not in self.acknowledged:
                    return Parcel(record.payload, record.seq, record.values, bool(record.flags & FINAL))
                self._cursor = end
            return None

    def acknowledge(self, seq: int) -> bool:
        """Remembers that the server has a frame; tells whether that is new."""
        with self._lock:
            self._acks_unsaved = True
            return self.acknowledged.add(seq)

    def keep(self, seq: int) -> None:
        """Leaves the next frame in the file for ever (the server has another one of its identity) and goes on."""
        with self._lock:
            record = self._file.at(self._cursor)
            if record is not None and record.seq == seq:
                self._cursor = record.end
                self.kept += 1

    def set_aside(self, parcel: Parcel, reason: str) -> None:
        """Moves a frame that the server refused for good into a file of its own; raises OSError."""
        note = json.dumps({"seq": parcel.seq, "refused": reason}).encode()
        with self.refused_path.open("ab") as file:
            file.write(packed(note, parcel.seq, 0, OPENING) + packed(parcel.data, parcel.seq, parcel.values, 0))

    @property
    def waiting_bytes(self) -> int:
        """Counts the bytes that are not acknowledged yet."""
        self.peek()
        return self._file.size - self._cursor

    @property
    def delivered(self) -> bool:
        """Tells whether everything up to and with the status is acknowledged."""
        return self.has_final and not self.kept and self.acknowledged.below >= self.next_seq

    def last_complete(self) -> int:
        """Gives the last step that is whole, from the newest frame in the file."""
        with self._lock:
            complete = self.complete
            for record, _ in self._file.walk(self._start):
                if record is not None:
                    complete = max(complete, wire.header_of(record.payload).get("complete", -1))
            return complete

    def missing(self) -> list[int]:
        """Lists seqs that are neither here nor acknowledged: frames that were lost with the memory of their process."""
        with self._lock:
            here = {record.seq for record, _ in self._file.walk(self._start) if record is not None}
            return [
                seq
                for seq in range(self.acknowledged.below, self.next_seq)
                if seq not in here and seq not in self.acknowledged
            ]

    # -- closing --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Closes the file and with that gives it free; deletes it when everything is delivered, unless `keep_file`."""
        with self._lock:
            if self._file.closed:
                return
            try:
                if self.delivered and not self.keep_file:
                    self.path.unlink(missing_ok=True)
                    self._acknowledged_path.unlink(missing_ok=True)
                    self.path.parent.rmdir()
                else:
                    self.sync()
            except OSError:
                pass  # a folder with other ranks' files, or a disk that just went: the next start cleans up
            finally:
                self._file.close()

    def abandon(self) -> None:
        """Lets go of the file in a forked child; the parent's lock and file stay as they are."""
        self._file.close()

    def _save_acknowledged(self, *, durable: bool = False) -> None:
        if not self._acks_unsaved and not durable:
            return
        saved = {
            "below": self.acknowledged.below,
            "beyond": sorted(self.acknowledged.beyond),
            "complete": self.complete,
        }
        new = self._acknowledged_path.with_suffix(".acked-new")
        with new.open("w", encoding="utf-8") as file:
            json.dump(saved, file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        new.replace(self._acknowledged_path)
        self._acks_unsaved = False


def folder_bytes(folder: Path) -> int:
    """Counts the bytes of all spools of a home."""
    total = 0
    for path in files_of(folder):
        try:
            total += path.stat().st_size
        except OSError:
            continue  # just delivered by another process
    return total


def files_of(folder: Path) -> list[Path]:
    """Lists the files of all spools of a home; a run's folder may be taken away by its own process meanwhile."""
    found: list[Path] = []
    for of_run in _listed(folder):
        found += _listed(of_run)
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in entries]
    except OSError:
        return []
