"""Keeps encoded frames in one append-only file per process of an attempt until a server has acknowledged them.

Format: records of length, CRC-32, seq, values, flags (u32 each, little-endian) and payload; the first payload is the
opening JSON. What is acknowledged stands in a small file beside it. Not for: finding older spools
(client_hook.backlog).
"""

from __future__ import annotations

import errno
import json
import os
import struct
import threading
import time
import zlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from client_hook import wire

HAS_LOCKS = find_spec("fcntl") is not None  # where there is none, the process number alone tells who owns a spool
if HAS_LOCKS:
    import fcntl

_HEAD = struct.Struct("<IIIII")
OPENING, FINAL = 1, 2
MAX_RECORD_BYTES = 16 * 1024 * 1024
COMPACT_FROM_BYTES = 4 * 1024 * 1024
QUOTA_CHECK_S = 10.0


class SpoolBusy(Exception):
    """Says that another process is using a spool."""


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

    def __init__(self, path: Path, descriptor: int, opening: dict[str, Any], *, quota_bytes: int = 2**63) -> None:
        self.path = path
        self.opening = opening
        self.acknowledged = Acknowledged()
        self.complete = -1
        self.next_seq = 0
        self.has_final = False
        self.kept = 0
        self.keep_file = False  # somebody beside this process adds to it and deletes it
        self.damaged = 0
        self._fd = descriptor
        self._lock = threading.RLock()
        self._quota = quota_bytes
        self._others_bytes, self._others_at = 0, -QUOTA_CHECK_S
        self._size = 0
        self._start = 0
        self._cursor = 0
        self._torn = False
        self._unsynced = False
        self._acks_unsaved = False

    # -- opening --------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, folder: Path, opening: dict[str, Any], *, quota_bytes: int = 2**63) -> Spool:
        """Makes the spool of an attempt, or goes on with the one that is there; raises OSError or SpoolBusy."""
        make_private(folder)
        path = folder / opening["id"] / f"{opening['attempt']}-{opening['rank']}.spool"
        make_private(path.parent)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | _CLOEXEC, 0o600)
        except FileExistsError:
            return cls.open(path, quota_bytes=quota_bytes)
        spool = cls(path, descriptor, opening, quota_bytes=quota_bytes)
        try:
            _lock_file(descriptor, path)
            spool._append(json.dumps(opening, separators=(",", ":")).encode(), 0, 0, OPENING)
        except (OSError, SpoolBusy):
            spool.close()
            path.unlink(missing_ok=True)
            raise
        spool._start = spool._cursor = spool._size
        return spool

    @classmethod
    def open(cls, path: Path, *, quota_bytes: int = 2**63) -> Spool:
        """Opens a spool that somebody left; cuts a torn tail off. Raises OSError, SpoolBusy or SpoolDamaged."""
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | _CLOEXEC)
        try:
            _lock_file(descriptor, path)
            if not os.path.samestat(os.fstat(descriptor), path.stat()):
                raise SpoolBusy(f"{path} was just delivered by another process")
            spool = cls(path, descriptor, {}, quota_bytes=quota_bytes)
            spool._scan()
        except (OSError, SpoolBusy, SpoolDamaged):
            os.close(descriptor)
            raise
        return spool

    def _scan(self) -> None:
        self._size = os.fstat(self._fd).st_size
        first = self._record_at(0)
        try:
            self.opening = json.loads(first[1]) if first is not None and first[0][4] & OPENING else {}
        except ValueError:
            self.opening = {}
        if first is None or not isinstance(self.opening, dict) or not {"id", "attempt", "rank"} <= self.opening.keys():
            raise SpoolDamaged(f"{self.path} does not begin with the opening of a run; it is left as it is")
        self._start = self._cursor = _HEAD.size + len(first[1])
        self._load_acknowledged()
        offset = self._start
        while (record := self._record_at(offset)) is not None or self._is_damaged(offset):
            if record is None:
                self.damaged += 1
                offset += _HEAD.size + self._head_at(offset)[0]
                continue
            head, payload = record
            self.next_seq = max(self.next_seq, head[2] + 1)
            self.has_final = self.has_final or bool(head[4] & FINAL)
            offset += _HEAD.size + len(payload)
        if offset < self._size:
            os.ftruncate(self._fd, offset)
            self._size = offset
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
            self._append(parcel.data, parcel.seq, parcel.values, FINAL if parcel.final else 0)
            self.next_seq = max(self.next_seq, parcel.seq + 1)
            self.complete = max(self.complete, complete)
            self.has_final = self.has_final or parcel.final

    def _append(self, payload: bytes, seq: int, values: int, flags: int) -> None:
        if self._torn:
            os.ftruncate(self._fd, self._size)
            self._torn = False
        record = _pack(payload, seq, values, flags)
        view = memoryview(record)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            self._torn = True  # half a record may be there; it goes before the next one comes
            os.ftruncate(self._fd, self._size)
            self._torn = False
            raise
        self._size += len(record)
        self._unsynced = True

    def _check_quota(self, more: int) -> None:
        now = time.monotonic()
        if now - self._others_at > QUOTA_CHECK_S:
            self._others_at = now
            self._others_bytes = folder_bytes(self.path.parent.parent) - self._size
        if self._others_bytes + self._size + more > self._quota:
            raise OSError(errno.EDQUOT, f"the spool folder has reached its quota of {self._quota} bytes")

    def _compact(self) -> None:
        """Empties a file whose frames are all acknowledged, so that a long run with a good server stays small."""
        if self._cursor == self._size and self._size - self._start > COMPACT_FROM_BYTES and not self.kept:
            self._save_acknowledged(durable=True)
            os.ftruncate(self._fd, self._start)
            self._cursor = self._size = self._start

    def sync(self) -> None:
        """Makes what was written survive a power cut; raises OSError."""
        if self._unsynced:
            self._unsynced = False
            os.fsync(self._fd)
        with self._lock:
            self._save_acknowledged()

    # -- reading --------------------------------------------------------------------------------------------------

    def peek(self) -> Parcel | None:
        """Reads the next frame that waits, without taking it out."""
        with self._lock:
            while (record := self._record_at(self._cursor)) is not None:
                head, payload = record
                if head[2] not in self.acknowledged:
                    return Parcel(payload, head[2], head[3], bool(head[4] & FINAL))
                self._cursor += _HEAD.size + len(payload)
            if self._is_damaged(self._cursor):
                self._cursor += _HEAD.size + self._head_at(self._cursor)[0]
                return self.peek()
            return None

    def acknowledge(self, seq: int) -> bool:
        """Remembers that the server has a frame; tells whether that is new."""
        with self._lock:
            self._acks_unsaved = True
            return self.acknowledged.add(seq)

    def keep(self, seq: int) -> None:
        """Leaves the next frame in the file for ever (the server has another one of its identity) and goes on."""
        with self._lock:
            record = self._record_at(self._cursor)
            if record is not None and record[0][2] == seq:
                self._cursor += _HEAD.size + len(record[1])
                self.kept += 1

    def set_aside(self, parcel: Parcel, reason: str) -> None:
        """Moves a frame that the server refused for good into a file of its own; raises OSError."""
        note = json.dumps({"seq": parcel.seq, "refused": reason}).encode()
        with self.refused_path.open("ab") as file:
            file.write(_pack(note, parcel.seq, 0, OPENING) + _pack(parcel.data, parcel.seq, parcel.values, 0))

    @property
    def waiting_bytes(self) -> int:
        """Counts the bytes that are not acknowledged yet."""
        self.peek()
        return self._size - self._cursor

    @property
    def delivered(self) -> bool:
        """Tells whether everything up to and with the status is acknowledged."""
        return self.has_final and not self.kept and self.acknowledged.below >= self.next_seq

    def last_complete(self) -> int:
        """Gives the last step that is whole, from the newest frame in the file."""
        with self._lock:
            offset, complete = self._start, self.complete
            while offset < self._size:
                record = self._record_at(offset)
                if record is not None:
                    complete = max(complete, wire.header_of(record[1]).get("complete", -1))
                offset += _HEAD.size + self._head_at(offset)[0]
            return complete

    def missing(self) -> list[int]:
        """Lists seqs that are neither here nor acknowledged: frames that were lost with the memory of their process."""
        with self._lock:
            here = set()
            offset = self._start
            while offset < self._size:
                head = self._head_at(offset)
                if self._record_at(offset) is not None:
                    here.add(head[2])
                offset += _HEAD.size + head[0]
            return [
                seq
                for seq in range(self.acknowledged.below, self.next_seq)
                if seq not in here and seq not in self.acknowledged
            ]

    # -- closing --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Closes the file and with that gives it free; deletes it when everything is delivered, unless `keep_file`."""
        with self._lock:
            if self._fd < 0:
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
                descriptor, self._fd = self._fd, -1
                os.close(descriptor)

    def abandon(self) -> None:
        """Lets go of the file in a forked child; the parent's lock and file stay as they are."""
        descriptor, self._fd = self._fd, -1
        if descriptor >= 0:
            os.close(descriptor)

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

    def _head_at(self, offset: int) -> tuple[int, int, int, int, int]:
        head: tuple[int, int, int, int, int] = _HEAD.unpack(os.pread(self._fd, _HEAD.size, offset))
        return head

    def _record_at(self, offset: int) -> tuple[tuple[int, int, int, int, int], bytes] | None:
        """Reads the record at an offset; None at the end, and where the bytes are not a whole record."""
        if self._fd < 0 or offset + _HEAD.size > self._size:
            return None
        head = self._head_at(offset)
        if head[0] > MAX_RECORD_BYTES or offset + _HEAD.size + head[0] > self._size:
            return None
        payload = os.pread(self._fd, head[0], offset + _HEAD.size)
        return (head, payload) if _crc(payload, *head[2:]) == head[1] else None

    def _is_damaged(self, offset: int) -> bool:
        """Tells whether a record is broken though a good one follows: one bad sector must not cost the rest."""
        if self._fd < 0 or offset + _HEAD.size > self._size or self._record_at(offset) is not None:
            return False
        length = self._head_at(offset)[0]
        return length <= MAX_RECORD_BYTES and self._record_at(offset + _HEAD.size + length) is not None


_CLOEXEC = getattr(os, "O_CLOEXEC", 0)


def make_private(folder: Path) -> None:
    """Makes a folder that only its owner can read; raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


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


def _pack(payload: bytes, seq: int, values: int, flags: int) -> bytes:
    return _HEAD.pack(len(payload), _crc(payload, seq, values, flags), seq, values, flags) + payload


def _crc(payload: bytes, seq: int, values: int, flags: int) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<III", seq, values, flags)))


def _lock_file(descriptor: int, path: Path) -> None:
    if not HAS_LOCKS:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SpoolBusy(f"{path} is in use by another process") from None
    except OSError:
        return  # a file system without locks (some network ones): better unlocked than not kept at all
