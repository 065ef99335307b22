"""A power supply for SQLite that can be cut: a shim between the library and its files, made with ctypes.

It notes what is written to each file and what was synced. A cut gives the files as a disk may hold them afterwards: the
image of the last sync, and of what was written since then any part, in sectors. Not for: what the store makes of it.
"""

from __future__ import annotations

import ctypes as c
import random
import re
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

SECTOR = 512
SQLITE_OK = 0

_WRITE = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_int, c.c_int64)
_TRUNCATE = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_int64)
_SYNC = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_int)
_CLOSE = c.CFUNCTYPE(c.c_int, c.c_void_p)
_OPEN = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_void_p, c.c_int, c.c_void_p)


def _pointers(*names: str) -> list[tuple[str, Any]]:
    return [(name, c.c_void_p) for name in names]


class _Methods(c.Structure):
    """sqlite3_io_methods, https://www.sqlite.org/c3ref/io_methods.html"""

    _fields_ = [
        ("iVersion", c.c_int),
        *_pointers("xClose", "xRead", "xWrite", "xTruncate", "xSync", "xFileSize", "xLock", "xUnlock"),
        *_pointers("xCheckReservedLock", "xFileControl", "xSectorSize", "xDeviceCharacteristics"),
        *_pointers("xShmMap", "xShmLock", "xShmBarrier", "xShmUnmap", "xFetch", "xUnfetch"),
    ]  # fmt: skip


class _Vfs(c.Structure):
    """sqlite3_vfs, https://www.sqlite.org/c3ref/vfs.html"""

    _fields_ = [
        *(("iVersion", c.c_int), ("szOsFile", c.c_int), ("mxPathname", c.c_int)),
        *(("pNext", c.c_void_p), ("zName", c.c_char_p), ("pAppData", c.c_void_p)),
        *_pointers("xOpen", "xDelete", "xAccess", "xFullPathname", "xDlOpen", "xDlError", "xDlSym", "xDlClose"),
        *_pointers("xRandomness", "xSleep", "xCurrentTime", "xGetLastError", "xCurrentTimeInt64"),
        *_pointers("xSetSystemCall", "xGetSystemCall", "xNextSystemCall"),
    ]  # fmt: skip


class _File:
    """What a disk holds for sure of a file, and what it may hold."""

    def __init__(self, path: Path) -> None:
        self.sure = bytearray(path.read_bytes() if path.exists() else b"")
        self.since: list[tuple[int, bytes | None]] = []  # (offset, data), or (size, None) for a truncation

    def sync(self) -> None:
        for place, data in self.since:
            _apply(self.sure, place, data)
        self.since = []

    def after_a_cut(self, chance: random.Random) -> bytes:
        """Keeps of what was not synced each part with a chance of a half, and tears writes at a sector."""
        left = bytearray(self.sure)
        for place, data in self.since:
            if chance.random() < 0.5:
                torn = data is not None and chance.random() < 0.3
                size = SECTOR * chance.randint(0, len(data) // SECTOR) if data is not None and torn else None
                _apply(left, place, data if data is None else data[:size])
        return bytes(left)


def _apply(image: bytearray, place: int, data: bytes | None) -> None:
    if data is None:
        del image[place:]
        return
    if len(image) < place:
        image.extend(bytes(place - len(image)))
    image[place : place + len(data)] = data


class Supply:
    """While it is entered, every file that SQLite opens in this process goes through the shim.

    `wanted` cuts are taken at random writes once `begin` was called; each asks `witness` first what the disk has to
    hold by then, and is kept as (what it said, the files).
    """

    def __init__(self, wanted: int, chance: random.Random, witness: Callable[[], Any], apart: int) -> None:
        self.cuts: list[tuple[Any, dict[str, bytes]]] = []
        self.writes = 0
        self._wanted, self._chance, self._witness, self._apart = wanted, chance, witness, apart
        self._next: int | None = None
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._open: dict[int, str] = {}
        self._methods: dict[int, _Methods] = {}
        self._kept: list[Any] = []
        self._library = _library()
        self._library.sqlite3_vfs_find.restype = c.c_void_p
        self._plain: int = self._library.sqlite3_vfs_find(None)
        self._plain_open = _OPEN(_Vfs.from_address(self._plain).xOpen)
        self._vfs = _Vfs()
        c.memmove(c.byref(self._vfs), self._plain, c.sizeof(_Vfs))
        self._vfs.pNext = None
        self._vfs.zName = b"power"
        self._vfs.xOpen = self._keep(_OPEN(self._on_open))

    def __enter__(self) -> Supply:
        assert self._library.sqlite3_vfs_register(c.byref(self._vfs), 1) == SQLITE_OK
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._library.sqlite3_vfs_register(c.c_void_p(self._plain), 1) == SQLITE_OK
        self._library.sqlite3_vfs_unregister(c.byref(self._vfs))

    def begin(self) -> None:
        """Cuts from now on."""
        with self._lock:
            self._next = self.writes + self._chance.randint(1, 2 * self._apart)

    @property
    def done(self) -> bool:
        """Whether all cuts were taken."""
        return len(self.cuts) >= self._wanted

    def _keep(self, function: Any) -> int:
        self._kept.append(function)
        address = c.cast(function, c.c_void_p).value
        assert address is not None
        return address

    def _on_open(self, _vfs: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        status: int = self._plain_open(self._plain, name, file, flags, out)
        path = c.string_at(name).decode() if name else ""
        if status == SQLITE_OK and path.endswith((".db", ".db-wal")):
            with self._lock:
                self._files.setdefault(path, _File(Path(path)))
                self._open[file] = path
            place = c.c_void_p.from_address(file)
            assert place.value is not None
            place.value = c.addressof(self._shimmed(place.value))
        return status

    def _shimmed(self, plain: int) -> _Methods:
        if plain not in self._methods:
            old, methods = _Methods.from_address(plain), _Methods()
            c.memmove(c.byref(methods), plain, c.sizeof(_Methods))
            write, truncate, sync, close = (
                _WRITE(old.xWrite), _TRUNCATE(old.xTruncate), _SYNC(old.xSync), _CLOSE(old.xClose),
            )  # fmt: skip

            def on_write(file: int, data: int, size: int, place: int) -> int:
                status: int = write(file, data, size, place)
                if status == SQLITE_OK:
                    self._note(file, place, c.string_at(data, size))
                return status

            def on_truncate(file: int, size: int) -> int:
                status: int = truncate(file, size)
                if status == SQLITE_OK:
                    self._note(file, size, None)
                return status

            def on_sync(file: int, flags: int) -> int:
                status: int = sync(file, flags)
                if status == SQLITE_OK:
                    with self._lock:
                        self._files[self._open[file]].sync()
                return status

            def on_close(file: int) -> int:
                with self._lock:
                    self._open.pop(file, None)
                return int(close(file))

            methods.xWrite = self._keep(_WRITE(on_write))
            methods.xTruncate = self._keep(_TRUNCATE(on_truncate))
            methods.xSync = self._keep(_SYNC(on_sync))
            methods.xClose = self._keep(_CLOSE(on_close))
            self._methods[plain] = methods
        return self._methods[plain]

    def _note(self, file: int, place: int, data: bytes | None) -> None:
        with self._lock:
            self._files[self._open[file]].since.append((place, data))
            self.writes += 1
            if self._next is not None and self.writes >= self._next and not self.done:
                known = self._witness()
                self.cuts.append((known, {p: one.after_a_cut(self._chance) for p, one in self._files.items()}))
                self._next = self.writes + self._chance.randint(1, 2 * self._apart)


def _library() -> c.CDLL:
    """Finds the library that Python's sqlite3 works with: the one that is loaded."""
    sqlite3.connect(":memory:").close()
    found = re.findall(r"\s(/\S*sqlite3\S*\.so\S*)$", Path("/proc/self/maps").read_text(), re.MULTILINE)
    for path in sorted(set(found), key=lambda path: "_sqlite3" in path):
        library = c.CDLL(path)
        if hasattr(library, "sqlite3_vfs_register"):
            return library
    raise RuntimeError("The SQLite library that this Python has loaded was not found, so no power cut can be played.")
