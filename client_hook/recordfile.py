"""Appends records to a file that one process owns, and reads back those that are whole.

Format: length, CRC-32, seq, values, flags (u32 each, little-endian), payload. A torn tail is cut off, a broken record
in the middle is passed over. Not for: what the records are, and who is done with them (client_hook.spool).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

HAS_LOCKS = find_spec("fcntl") is not None  # where there is none, the process number alone tells who owns a file
if HAS_LOCKS:
    import fcntl

MAX_RECORD_BYTES = 16 * 1024 * 1024
_HEAD = struct.Struct("<IIIII")
_FLAGS = os.O_RDWR | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)


class SpoolBusy(Exception):
    """Says that another process is using a spool."""


class Record(NamedTuple):
    """Is one record of the file, and where the next one begins."""

    seq: int
    values: int
    flags: int
    payload: bytes
    end: int


class RecordFile:
    """Holds the open file and how far it is whole; its callers take turns."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.size = 0
        self.unsynced = False
        self._fd = descriptor
        self._torn = False

    # -- opening and closing ------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path) -> RecordFile:
        """Makes the file, which only its owner can read; raises FileExistsError, another OSError or SpoolBusy."""
        for folder in (path.parent.parent, path.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _lock(descriptor, path)
        except SpoolBusy:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return cls(path, descriptor)

    @classmethod
    def open(cls, path: Path) -> RecordFile:
        """Opens a file that somebody left; raises OSError or SpoolBusy."""
        descriptor = os.open(path, _FLAGS)
        try:
            _lock(descriptor, path)
            if not os.path.samestat(os.fstat(descriptor), path.stat()):
                raise SpoolBusy(f"{path} was just delivered by another process")
            file = cls(path, descriptor)
            file.size = os.fstat(descriptor).st_size
        except (OSError, SpoolBusy):
            os.close(descriptor)
            raise
        return file

    def close(self) -> None:
        """Closes the file, and with that gives it free."""
        descriptor, self._fd = self._fd, -1
        if descriptor >= 0:
            os.close(descriptor)

    @property
    def closed(self) -> bool:
        """Tells whether it was closed."""
        return self._fd < 0

    # -- writing ------------------------------------------------------------------------------------------------------

    def append(self, payload: bytes, seq: int, values: int, flags: int) -> None:
        """Appends a record; raises OSError when the disk says no, and the file stays whole."""
        if self._torn:
            self.cut(self.size)
        record = packed(payload, seq, values, flags)
        view = memoryview(record)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            self._torn = True  # half a record may be there; it goes before the next one comes
            self.cut(self.size)
            raise
        self.size += len(record)
        self.unsynced = True

    def cut(self, size: int) -> None:
        """Forgets what is behind a place; raises OSError."""
        os.ftruncate(self._fd, size)
        self.size = size
        self._torn = False

    def sync(self) -> None:
        """Makes what was written survive a power cut; raises OSError."""
        if self.unsynced:
            self.unsynced = False
            os.fsync(self._fd)

    # -- reading ------------------------------------------------------------------------------------------------------

    def at(self, offset: int) -> Record | None:
        """Reads the record at an offset; None at the end, and where the bytes are not a whole record."""
        if self._fd < 0 or offset + _HEAD.size > self.size:
            return None
        length, crc, seq, values, flags = self._head_at(offset)
        end = offset + _HEAD.size + length
        if length > MAX_RECORD_BYTES or end > self.size:
            return None
        payload = os.pread(self._fd, length, offset + _HEAD.size)
        return Record(seq, values, flags, payload, end) if _crc(payload, seq, values, flags) == crc else None

    def past_damage(self, offset: int) -> int | None:
        """Finds the good record behind a broken one: one bad sector must not cost the rest."""
        if self._fd < 0 or offset + _HEAD.size > self.size:
            return None
        length = self._head_at(offset)[0]
        behind = offset + _HEAD.size + length
        return behind if length <= MAX_RECORD_BYTES and self.at(behind) is not None else None

    def walk(self, offset: int) -> Iterator[tuple[Record | None, int]]:
        """Gives each record from an offset on, None for a broken one, and where it ends."""
        while True:
            record = self.at(offset)
            end = record.end if record is not None else self.past_damage(offset)
            if end is None:
                return
            yield record, end
            offset = end

    def _head_at(self, offset: int) -> tuple[int, int, int, int, int]:
        head: tuple[int, int, int, int, int] = _HEAD.unpack(os.pread(self._fd, _HEAD.size, offset))
        return head


def packed(payload: bytes, seq: int, values: int, flags: int) -> bytes:
    """Makes the bytes of a record."""
    return _HEAD.pack(len(payload), _crc(payload, seq, values, flags), seq, values, flags) + payload


def _crc(payload: bytes, seq: int, values: int, flags: int) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<III", seq, values, flags)))


def _lock(descriptor: int, path: Path) -> None:
    if not HAS_LOCKS:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SpoolBusy(f"{path} is in use by another process") from None
    except OSError:
        return  # a file system without locks (some network ones): better unlocked than not kept at all
