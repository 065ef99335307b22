"""Packs the groups of frames into blocks, and unpacks columns of them: the bytes are drawn in FORMAT.md.

Not for: where blocks are stored (frames, series).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.domain.series import Floats, Steps
from server.errors import StoreError

VERSION = 1
FLAG_ZLIB = 1
PROBE_BYTES = 8_192
WORTH_RATIO = 0.8

_PREFIX = struct.Struct("<BBHI")
_DTYPES: dict[str, np.dtype[Any]] = {"f4": np.dtype("<f4"), "f8": np.dtype("<f8")}
_STEPS = np.dtype("<i8")

Values = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """Holds an unpacked block: steps and times, shape (count,), and values as stored, shape (columns, count)."""

    steps: Steps
    times_ms: Steps
    values: Values


def pack(steps: Steps, times_ms: Steps, values: Values) -> bytes:
    """Packs one group; compresses it where a probe of the values says that it is worth the time."""
    parts = (
        np.ascontiguousarray(steps, _STEPS).tobytes(),
        np.ascontiguousarray(times_ms, _STEPS).tobytes(),
        np.ascontiguousarray(values, _DTYPES[dtype_of(values)]).tobytes(),
    )
    payload = b"".join(parts)
    flags = 0
    if _worth_compressing(parts):
        packed = zlib.compress(payload, 1)
        if len(packed) < len(payload):
            payload, flags = packed, FLAG_ZLIB
    return _PREFIX.pack(VERSION, flags, 0, zlib.crc32(payload)) + payload


def unpack(data: bytes, dtype: str, columns: int, count: int) -> Block:
    """Unpacks a block; raises StoreError when its bytes are not those that were written."""
    version, flags, _, crc = _PREFIX.unpack_from(data)
    payload: bytes | memoryview = memoryview(data)[_PREFIX.size :]
    if version != VERSION:
        raise StoreError(f"A block has version {version}, expected {VERSION}. Upgrade gradwatch.")
    if zlib.crc32(payload) != crc:
        raise StoreError("A block of the database is damaged: its CRC does not fit its bytes. Restore a backup.")
    if flags & FLAG_ZLIB:
        payload = zlib.decompress(payload)
    steps = np.frombuffer(payload, _STEPS, count)
    times = np.frombuffer(payload, _STEPS, count, 8 * count)
    values = np.frombuffer(payload, _DTYPES[dtype], columns * count, 16 * count).reshape(columns, count)
    return Block(steps, times, values)


def dtype_of(values: Values) -> str:
    """Names the type of values as the wire does: f4 or f8."""
    return "f4" if values.dtype.itemsize == 4 else "f8"


def as_floats(values: Values) -> Floats:
    """Copies values as float64, in which every float32 is exact, NaN and ±Inf included."""
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        return values.astype(np.float64)


def _worth_compressing(parts: tuple[bytes, bytes, bytes]) -> bool:
    """Steps and times shrink to little; noise does not, and costs 10 ms for each 64,000 values."""
    steps, times, values = parts
    probe = values[:PROBE_BYTES]
    shrinks = len(zlib.compress(probe, 1)) < WORTH_RATIO * len(probe)
    return shrinks or len(steps) + len(times) > len(values)
