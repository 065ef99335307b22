"""Walks over the bytes of a protobuf message: numbers of fields with what they hold, without a schema.

Protocol Buffers, "Encoding" (protobuf.dev). Not for: what the fields mean (events.py).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
MOST_VARINT_BYTES = 10

Field = int | bytes


class Malformed(ValueError):
    """Says that bytes are no message."""


def fields(data: bytes) -> Iterator[tuple[int, int, Field]]:
    """Yields number, wire type and content of each field: an unsigned integer for a varint, else its bytes.

    Raises Malformed.
    """
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = varint(data, at)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, at = varint(data, at)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            size = 8 if kind == EIGHT_BYTES else 4
        else:
            raise Malformed(f"field {number} has the wire type {kind}")
        if at + size > len(data):
            raise Malformed(f"field {number} ends behind the message")
        yield number, kind, data[at : at + size]
        at += size


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Reads an unsigned integer of 7 bits a byte; gives it and the place behind it."""
    value = 0
    for index in range(MOST_VARINT_BYTES):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at
    raise Malformed("a number without an end")


def signed(value: int) -> int:
    """Reads a varint as an int64."""
    return value - 2**64 if value >= 2**63 else value


def number(kind: int, content: Field) -> float:
    """Reads a float, a double or an integer."""
    if isinstance(content, int):
        return float(signed(content))
    letter = {4: "<f", 8: "<d"}.get(len(content))
    if letter is None or kind == BYTES:
        raise Malformed("no number")
    return float(struct.unpack(letter, content)[0])


def text(content: Field) -> str:
    """Reads a text."""
    if isinstance(content, int):
        raise Malformed("a number in place of a text")
    return content.decode("utf-8", "replace")
