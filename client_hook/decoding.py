"""Decodes frames and says what is wrong with one: what the server and tools do, and no training.

The bytes are drawn in WIRE.md. Not for: checking what the values mean (server.ingest).
"""

from __future__ import annotations

import json
import sys
import zlib
from typing import Any

from client_hook.wire import (
    CRC_OFFSET,
    FLAG_ZLIB,
    MAGIC,
    MAX_FRAME_BYTES,
    MAX_RAW_BYTES,
    PREFIX,
    PREFIX_BYTES,
    WIDTH,
    Frame,
    FrameError,
    Group,
    crc_of,
)

READABLE_VERSIONS = (1,)
MAX_HEADER_BYTES = 3 * 1024 * 1024
MAX_GROUPS = 4_096
MAX_COLUMNS = 50_000
MAX_RECORDS = 20_000
MAX_HEADER_MEMORY = 2 * MAX_HEADER_BYTES  # as text: one emoji makes each letter take four bytes
MAX_MARKS = {",": 220_000, ":": 140_000, "{": 50_000, "[": 100_000}  # of a header: each takes memory
PART_BYTES = 1024 * 1024


class FrameTooLarge(FrameError):
    """Says that a frame is larger than a reader accepts, and by which limit."""


def decode(data: bytes | bytearray | memoryview) -> Frame:
    """Decodes one frame and checks its lengths, CRC and shape.

    Raises FrameTooLarge beyond a limit, and FrameError with a sentence for everything else that is wrong. The groups'
    bytes are views, not copies.
    """
    view = memoryview(data)
    if len(view) > MAX_FRAME_BYTES:
        raise FrameTooLarge(f"frame: {len(view)} bytes, at most {MAX_FRAME_BYTES} are accepted")
    if len(view) < PREFIX_BYTES:
        raise FrameError(f"frame: {len(view)} bytes, expected at least the {PREFIX_BYTES} bytes of the prefix")
    magic, version, flags, reserved, header_bytes, body_bytes, raw_bytes, crc = PREFIX.unpack_from(view)
    if magic != MAGIC:
        raise FrameError(f"magic: got {bytes(magic)!r}, expected {MAGIC!r}")
    if version not in READABLE_VERSIONS:
        readable = " or ".join(map(str, READABLE_VERSIONS))
        raise FrameError(f"version: got {version}, expected {readable}")
    if flags & ~FLAG_ZLIB or reserved:
        raise FrameError(f"flags: got {flags} and reserved {reserved}, expected flags 0 or 1 and reserved 0")
    if header_bytes > MAX_HEADER_BYTES:
        raise FrameTooLarge(f"header bytes: {header_bytes}, at most {MAX_HEADER_BYTES} are accepted")
    if raw_bytes > MAX_RAW_BYTES:
        raise FrameTooLarge(f"raw bytes: {raw_bytes}, at most {MAX_RAW_BYTES} are accepted")
    expected = PREFIX_BYTES + header_bytes + body_bytes
    if len(view) != expected:
        raise FrameError(f"length: got {len(view)} bytes, expected {expected} from the prefix")
    header_view = view[PREFIX_BYTES : PREFIX_BYTES + header_bytes]
    sent = view[PREFIX_BYTES + header_bytes :]
    actual = crc_of(view[:CRC_OFFSET], header_view, sent)
    if actual != crc:
        raise FrameError(f"crc: got {crc:#010x}, expected {actual:#010x} from the bytes")
    header = _parse_header(header_view)
    body = memoryview(_inflate(sent, raw_bytes)) if flags & FLAG_ZLIB else sent
    if len(body) != raw_bytes:
        raise FrameError(f"body: {len(body)} bytes, expected {raw_bytes} from the prefix")
    return _build(header, body, crc)


def _inflate(sent: memoryview, raw_bytes: int) -> bytearray:
    inflater = zlib.decompressobj()
    body = bytearray()
    try:
        # in parts, because the inflater holds all that it gives at once twice
        for start in range(0, len(sent), PART_BYTES):
            part: memoryview | bytes = sent[start : start + PART_BYTES]
            while part and len(body) <= raw_bytes:
                body += inflater.decompress(part, min(PART_BYTES, raw_bytes + 1 - len(body)))
                part = inflater.unconsumed_tail
    except zlib.error as error:
        raise FrameError(f"body: not a zlib stream ({error})") from None
    if len(body) > raw_bytes or not inflater.eof:
        raise FrameError(f"body: the zlib stream does not end at the {raw_bytes} bytes that the prefix promises")
    if inflater.unused_data:
        raise FrameError(f"body: {len(inflater.unused_data)} bytes after the end of the zlib stream, expected none")
    return body


def _parse_header(raw: memoryview) -> dict[str, Any]:
    try:
        text = str(raw, "utf-8")
    except ValueError as error:
        raise FrameError(f"header: not valid JSON ({error})") from None
    if (size := sys.getsizeof(text)) > MAX_HEADER_MEMORY:
        raise FrameTooLarge(f"header: takes {size} bytes as text, at most {MAX_HEADER_MEMORY} are accepted")
    for mark, most in MAX_MARKS.items():
        if (count := text.count(mark)) > most:
            raise FrameTooLarge(f"header: {count} times {mark}, at most {most} are accepted")
    try:
        header = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise FrameError("header: nested too deeply, expected a flat JSON object") from None
    except ValueError as error:
        raise FrameError(f"header: not valid JSON ({error})") from None
    if not isinstance(header, dict):
        raise FrameError(f"header: got {type(header).__name__}, expected an object")
    return header


def _refuse_constant(name: str) -> Any:
    raise ValueError(f'{name} is no JSON number; non-finite numbers in records are the texts "nan", "inf", "-inf"')


def _build(header: dict[str, Any], body: memoryview, crc: int) -> Frame:
    described = _list(header, "groups", MAX_GROUPS)
    groups: list[Group] = []
    offset = 0
    for index, item in enumerate(described):
        columns, dtype, count = _group_shape(item, f"groups[{index}]")
        size = count * (16 + WIDTH[dtype] * len(columns))
        if offset + size > len(body):
            raise FrameError(
                f"groups[{index}]: {len(columns)} columns × {count} steps need {size} bytes, the body has "
                f"{len(body) - offset} left"
            )
        part = body[offset : offset + size]
        groups.append(Group(columns, dtype, count, part[: 8 * count], part[8 * count : 16 * count], part[16 * count :]))
        offset += size
    if offset != len(body):
        raise FrameError(f"body: {len(body)} bytes, expected {offset} from the groups")
    records = _list(header, "records", MAX_RECORDS)
    for index, record in enumerate(records):
        if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
            raise FrameError(f"records[{index}]: expected an object with a text 'kind'")
    return Frame(
        run=_text(header, "run"),
        attempt=_text(header, "attempt"),
        rank=_integer(header, "rank", 0),
        seq=_integer(header, "seq", 0),
        created_ms=_integer(header, "created_ms", 0),
        complete=_integer(header, "complete", -1),
        groups=tuple(groups),
        records=tuple(records),
        crc=crc,
    )


def _group_shape(item: Any, where: str) -> tuple[tuple[str, ...], str, int]:
    if not isinstance(item, dict):
        raise FrameError(f"{where}: got {type(item).__name__}, expected an object")
    columns = item.get("columns")
    if not isinstance(columns, list) or not columns or not all(isinstance(name, str) for name in columns):
        raise FrameError(f"{where}.columns: expected a list of series names, at least one")
    if len(columns) > MAX_COLUMNS:
        raise FrameTooLarge(f"{where}.columns: {len(columns)} names, at most {MAX_COLUMNS} are accepted")
    dtype = item.get("dtype")
    if dtype not in WIDTH:
        raise FrameError(f"{where}.dtype: got {dtype!r}, expected 'f4' or 'f8'")
    return tuple(columns), dtype, _integer(item, "count", 1, where + ".")


def _list(header: dict[str, Any], key: str, limit: int) -> list[Any]:
    value = header.get(key, [])
    if not isinstance(value, list):
        raise FrameError(f"{key}: got {type(value).__name__}, expected a list")
    if len(value) > limit:
        raise FrameTooLarge(f"{key}: {len(value)} items, at most {limit} are accepted")
    return value


def _text(header: dict[str, Any], key: str) -> str:
    value = header.get(key)
    if not isinstance(value, str) or not 1 <= len(value) <= 100:
        raise FrameError(f"{key}: got {value!r:.60}, expected a text of 1 to 100 characters")
    return value


def _integer(header: dict[str, Any], key: str, least: int, where: str = "") -> int:
    value = header.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**53:
        raise FrameError(f"{where}{key}: got {value!r:.60}, expected an integer from {least}")
    return value
