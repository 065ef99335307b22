"""Encodes frames, the one format that the hook, the spool and the server share.

The bytes are drawn in WIRE.md. Standard library only, so that both sides can import it.
Not for: reading them (client_hook.decoding), checking what the values mean (server.ingest) or moving bytes
(transport, spool).
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

MAGIC = b"GWFR"
VERSION = 1
FLAG_ZLIB = 1
CONTENT_TYPE = "application/vnd.gradwatch.frame"

MAX_FRAME_BYTES = 8 * 1024 * 1024
MAX_RAW_BYTES = 16 * 1024 * 1024
COMPRESS_FROM_BYTES = 512

PREFIX = struct.Struct("<4sBBHIIII")
PREFIX_BYTES = PREFIX.size
CRC_OFFSET = 20
WIDTH = {"f4": 4, "f8": 8}


class FrameError(ValueError):
    """Says what is wrong with a frame: which field, what it holds, what would be right."""


@dataclass(frozen=True)
class Group:
    """Holds series that were measured at the same steps.

    `steps` and `times_ms` are int64 little-endian bytes, `values` is `dtype` little-endian, column after column:
    shape (len(columns), count).
    """

    columns: tuple[str, ...]
    dtype: str
    count: int
    steps: bytes | memoryview
    times_ms: bytes | memoryview
    values: bytes | memoryview


@dataclass(frozen=True)
class Frame:
    """Holds one decoded frame; (run, attempt, rank, seq) is its identity."""

    run: str
    attempt: str
    rank: int
    seq: int
    created_ms: int
    complete: int
    groups: tuple[Group, ...] = ()
    records: tuple[dict[str, Any], ...] = ()
    crc: int = field(default=0, compare=False)


def encode(frame: Frame, *, compress: bool = True) -> bytes:
    """Encodes a frame; raises FrameError when a group's bytes do not fit its shape."""
    body = bytearray()
    described: list[dict[str, Any]] = []
    for group in frame.groups:
        _check_group(group)
        described.append({"columns": list(group.columns), "dtype": group.dtype, "count": group.count})
        body += group.steps
        body += group.times_ms
        body += group.values
    header = json.dumps(
        {
            "run": frame.run,
            "attempt": frame.attempt,
            "rank": frame.rank,
            "seq": frame.seq,
            "created_ms": frame.created_ms,
            "complete": frame.complete,
            "groups": described,
            "records": list(frame.records),
        },
        separators=(",", ":"),
        allow_nan=False,
    ).encode()
    raw_bytes = len(body)
    sent: bytes = bytes(body)
    flags = 0
    if compress and raw_bytes >= COMPRESS_FROM_BYTES:
        packed = zlib.compress(sent, 1)
        if len(packed) < raw_bytes:
            sent, flags = packed, FLAG_ZLIB
    prefix = PREFIX.pack(MAGIC, VERSION, flags, 0, len(header), len(sent), raw_bytes, 0)[:CRC_OFFSET]
    crc = crc_of(prefix, header, sent)
    return b"".join((prefix, struct.pack("<I", crc), header, sent))


def header_of(data: bytes) -> dict[str, Any]:
    """Reads the header of a frame that this hook wrote and a checksum vouches for; empty for anything else."""
    if len(data) < PREFIX_BYTES or data[:5] != MAGIC + bytes([VERSION]):
        return {}
    try:
        header = json.loads(data[PREFIX_BYTES : PREFIX_BYTES + PREFIX.unpack_from(data)[4]])
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}


def json_safe(value: Any) -> Any:
    """Copies a JSON value with non-finite numbers written as "nan", "inf" or "-inf"."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    return value


def crc_of(*parts: bytes | memoryview) -> int:
    """Computes the checksum of what lies one behind the other."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return crc


def _check_group(group: Group) -> None:
    if group.dtype not in WIDTH:
        raise FrameError(f"dtype: got {group.dtype!r}, expected 'f4' or 'f8'")
    wanted = (8 * group.count, 8 * group.count, WIDTH[group.dtype] * group.count * len(group.columns))
    got = (len(group.steps), len(group.times_ms), len(group.values))
    if got != wanted:
        raise FrameError(
            f"group of {len(group.columns)} columns × {group.count} steps: steps, times and values have {got} bytes, "
            f"expected {wanted}"
        )
