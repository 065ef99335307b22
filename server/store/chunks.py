"""Packs the samples of one series into a chunk, and unpacks it: the bytes are drawn in FORMAT.md.

Bytes of the same significance lie together, because the high ones of neighbouring values are alike and the low ones are
noise: each plane is compressed by itself, or left as it is where that saves nothing. The idea of shuffling bytes before
compressing is that of Blosc and HDF5; that of storing differences where a curve is smooth, of Gorilla (Pelkonen et al.
2015, section 4.1). Not for: which samples go together (seals.py) or where chunks lie (sealing.py).
"""

from __future__ import annotations

import struct
import sys
import threading
import zlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.errors import StoreError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

VERSION = 1
FLAG_DIFFERENCES = 1
LEVEL = 1
MOST_SAMPLES = 0xFFFF
SHORT_BYTES = 32  # of a compressed plane that is worth to be remembered

_PREFIX = struct.Struct("<BBBBI")
_WHOLE = np.dtype("<i8")
# A neighbour that differs by less than about an eighth of the value is worth a difference.
_NEAR = {4: 1 << 20, 8: 1 << 49}

Whole = NDArray[np.unsignedinteger[Any]]

_local = threading.local()


def pack(values: NDArray[Any], *, differences: bool | None = None) -> list[bytes]:
    """Packs a chunk for each row of values, shape (rows, samples), of 4 or 8 bytes each.

    `differences` None chooses for each row. Raises ValueError for more than MOST_SAMPLES samples.
    """
    rows, samples = values.shape
    if samples > MOST_SAMPLES:
        raise ValueError(f"a chunk of {samples} samples; at most {MOST_SAMPLES} fit")
    width = values.dtype.itemsize
    whole = np.ascontiguousarray(values).view(f"<u{width}")
    folded = _fold(whole)
    if differences is None:
        near = np.count_nonzero(folded < _NEAR[width], axis=1) * 2 >= samples
    else:
        near = np.full(rows, differences)
    planes = np.where(near[:, None], folded, whole).view(np.uint8).reshape(rows, samples, width).transpose(0, 2, 1)
    planes = np.ascontiguousarray(planes)
    return [_chunk(planes[row], FLAG_DIFFERENCES if near[row] else 0) for row in range(rows)]


def unpack(chunk: bytes | memoryview, dtype: np.dtype[Any], samples: int) -> NDArray[Any]:
    """Unpacks one chunk, shape (samples,); raises StoreError when its bytes are not those that were written."""
    version, flags, width, _, crc = _PREFIX.unpack_from(chunk)
    if version != VERSION:
        raise StoreError(f"A chunk has version {version}, expected {VERSION}. Upgrade gradwatch.")
    payload = memoryview(chunk)[_PREFIX.size :]
    if zlib.crc32(payload) != crc or width != dtype.itemsize:
        raise StoreError("A chunk of the database is damaged: its CRC does not fit its bytes. Restore a backup.")
    planes = np.empty((width, samples), np.uint8)
    at = 2 * width
    for plane, size in enumerate(struct.unpack_from(f"<{width}H", payload)):
        part = payload[at : at + size]
        planes[plane] = np.frombuffer(part if size == samples else _decompress(part), np.uint8)
        at += size
    whole = np.ascontiguousarray(planes.T).view(f"<u{width}").reshape(samples)
    return (_unfold(whole) if flags & FLAG_DIFFERENCES else whole).view(dtype)


def pack_table(rows: NDArray[np.int64]) -> bytes:
    """Packs rows of whole numbers, shape (rows, samples), into one blob: their sizes (u32), then a chunk each."""
    packed = pack(np.ascontiguousarray(rows, _WHOLE), differences=True)
    return np.array([len(part) for part in packed], "<u4").tobytes() + b"".join(packed)


def unpack_table(table: bytes, rows: int, samples: int) -> list[NDArray[np.int64]]:
    """Unpacks what `pack_table` packed, a row each."""
    found: list[NDArray[np.int64]] = []
    at = 4 * rows
    for size in np.frombuffer(table, "<u4", rows).tolist():
        found.append(unpack(memoryview(table)[at : at + size], _WHOLE, samples))
        at += size
    return found


def squeeze(values: NDArray[Any]) -> bytes:
    """Compresses one array as a whole, its bytes shuffled, for what is always read as a whole."""
    width = values.dtype.itemsize
    planes = np.ascontiguousarray(values).view(np.uint8).reshape(-1, width).T
    return _compress(np.ascontiguousarray(planes).tobytes())


def unsqueeze(packed: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Gives back what `squeeze` compressed, flat."""
    planes = np.frombuffer(zstd.decompress(packed), np.uint8).reshape(dtype.itemsize, -1)
    return np.ascontiguousarray(planes.T).view(dtype).reshape(-1)


def _chunk(planes: NDArray[np.uint8], flags: int) -> bytes:
    width, samples = planes.shape
    parts: list[bytes] = []
    for plane in planes:
        raw = plane.tobytes()
        packed = _compress(raw)
        parts.append(packed if len(packed) < samples else raw)
    payload = struct.pack(f"<{width}H", *map(len, parts)) + b"".join(parts)
    return _PREFIX.pack(VERSION, flags, width, 0, zlib.crc32(payload)) + payload


def _compress(raw: bytes) -> bytes:
    compressor = getattr(_local, "compressor", None)
    if compressor is None:
        compressor = _local.compressor = zstd.ZstdCompressor(level=LEVEL)
    packed: bytes = compressor.compress(raw, mode=zstd.ZstdCompressor.FLUSH_FRAME)
    return packed


def _decompress(part: memoryview) -> bytes:
    return _same_again(bytes(part)) if len(part) <= SHORT_BYTES else _decompress_frame(part)


def _decompress_frame(part: bytes | memoryview) -> bytes:
    whole = zstd.ZstdDecompressor()
    plane: bytes = whole.decompress(part)
    if not whole.eof:
        raise StoreError("A chunk of the database ends too early. Restore a backup.")
    return plane


# Most high planes of steps and times are one byte repeated: the same few bytes in every seal of a run.
_same_again = lru_cache(maxsize=256)(_decompress_frame)


def _fold(whole: Whole) -> Whole:
    """Gives the differences of neighbours, small ones of either sign as small numbers (zigzag)."""
    bits = 8 * whole.dtype.itemsize
    difference = np.diff(whole, axis=1, prepend=whole[:, :1])
    difference[:, 0] = whole[:, 0]
    signed = difference.view(f"<i{whole.dtype.itemsize}")
    folded: Whole = ((difference << 1) ^ (signed >> (bits - 1)).view(whole.dtype)).astype(whole.dtype, copy=False)
    return folded


def _unfold(folded: Whole) -> Whole:
    one = folded.dtype.type(1)
    difference = (folded >> one) ^ (np.zeros_like(folded) - (folded & one))
    summed: Whole = np.add.accumulate(difference, dtype=folded.dtype)
    return summed
