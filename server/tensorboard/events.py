"""Reads an event file of TensorBoard: its scalars, and the hyper-parameters that it begins with.

The file is a sequence of TFRecords (length, its checksum, data, its checksum), each a message `Event`
(tensorflow/core/util/event.proto, framework/summary.proto; hyper-parameters: tensorboard/plugins/hparams).
The last record may be torn, because its writer was; pictures, histograms and graphs are passed over.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from server.tensorboard.protobuf import Field, Malformed, fields, number, signed, text

HEADER = struct.Struct("<QI")
FOOTER_BYTES = 4
MOST_BYTES = 16 * 1024 * 1024  # of a record that may hold scalars
DTYPES = {1: "<f", 2: "<d", 3: "<i", 9: "<q"}  # of a tensor: float32, float64, int32, int64
VALUES = {1: 5, 2: 6, 3: 7, 9: 10}  # where it holds them, if not as bytes
HPARAMS = "_hparams_/session_start_info"
ARGUMENTS = "args/text_summary"  # what Hugging Face's Trainer writes of its own: JSON as a text


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value: when it was written (seconds since 1970), at which step, under which tag."""

    wall_s: float
    step: int
    tag: str
    value: float


@dataclass
class EventFile:
    """What one file holds. `torn` says that its end is missing, `unread` counts records that are no events."""

    path: Path
    scalars: list[Scalar] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    torn: bool = False
    unread: int = 0


def read(path: Path) -> EventFile:
    """Reads a file; raises OSError."""
    found = EventFile(path)
    with path.open("rb") as file:
        for record in _records(file, found):
            try:
                _take(record, found)
            except Malformed:
                found.unread += 1
    return found


def _records(file: BinaryIO, found: EventFile) -> Iterator[bytes]:
    size = path_size(file)
    while header := file.read(HEADER.size):
        if len(header) < HEADER.size:
            found.torn = True
            return
        length, checksum = HEADER.unpack(header)
        if checksum != masked_crc(header[:8]):
            found.torn = True  # nobody knows where the next record begins
            return
        if file.tell() + length + FOOTER_BYTES > size:
            found.torn = True
            return
        if length > MOST_BYTES:
            file.seek(length + FOOTER_BYTES, 1)
            continue
        yield file.read(length)
        file.seek(FOOTER_BYTES, 1)


def path_size(file: BinaryIO) -> int:
    """Gives the bytes of an open file, which stays where it is."""
    here = file.tell()
    size = file.seek(0, 2)
    file.seek(here)
    return size


def _take(record: bytes, found: EventFile) -> None:
    wall_s, step, summaries = 0.0, 0, []
    for index, kind, content in fields(record):
        if index == 1:
            wall_s = number(kind, content)
        elif index == 2 and isinstance(content, int):
            step = signed(content)
        elif index == 5 and isinstance(content, bytes):
            summaries.append(content)
    for summary in summaries:
        for index, _, content in fields(summary):
            if index == 1 and isinstance(content, bytes):
                _value(content, wall_s, step, found)


def _value(data: bytes, wall_s: float, step: int, found: EventFile) -> None:
    tag, value, metadata = "", None, b""
    for index, kind, content in fields(data):
        if index == 1:
            tag = sys.intern(text(content))  # millions of values share a few
        elif index == 2:
            value = number(kind, content)
        elif index == 8 and isinstance(content, bytes):
            value = _tensor(content)
        elif index == 9 and isinstance(content, bytes):
            metadata = content
    if tag == HPARAMS:
        found.config.update(_hparams(metadata))
    elif tag == ARGUMENTS:
        found.config.update(_arguments(data))
    elif tag and value is not None:
        found.scalars.append(Scalar(wall_s if math.isfinite(wall_s) else 0.0, step, tag, value))


def _tensor(data: bytes) -> float | None:
    """Gives the value of a tensor of one number; None for any other."""
    dtype, whole, parts = 0, b"", dict[int, Field]()
    for index, _, content in fields(data):
        if index == 1 and isinstance(content, int):
            dtype = content
        elif index == 4 and isinstance(content, bytes):
            whole = content
        else:
            parts[index] = content
    letter = DTYPES.get(dtype)
    if letter is None:
        return None
    if whole:
        return float(struct.unpack(letter, whole)[0]) if len(whole) == struct.calcsize(letter) else None
    own = parts.get(VALUES[dtype])
    if isinstance(own, int):
        return float(signed(own))
    if own is None:
        return None
    if dtype in (1, 2):
        return float(struct.unpack(letter, own)[0]) if len(own) == struct.calcsize(letter) else None
    return None


def _hparams(metadata: bytes) -> Mapping[str, Any]:
    """Reads SummaryMetadata → PluginData → HParamsPluginData → SessionStartInfo → its map of values."""
    return {
        name: value
        for plugin in _inner(metadata, 1)
        for content in _inner(plugin, 2)
        for session in _inner(content, 3)
        for entry in _inner(session, 1)
        for name, value in [_entry(entry)]
        if name
    }


def _arguments(data: bytes) -> Mapping[str, Any]:
    """Reads Value → TensorProto → its only text as a JSON object."""
    for tensor in _inner(data, 8):
        for content in _inner(tensor, 8):
            try:
                value = json.loads(content)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                return value
    return {}


def _inner(data: bytes, wanted: int) -> Iterator[bytes]:
    for index, _, content in fields(data):
        if index == wanted and isinstance(content, bytes):
            yield content


def _entry(data: bytes) -> tuple[str, Any]:
    name = ""
    value: Any = None
    for index, _, content in fields(data):
        if index == 1:
            name = text(content)
        elif index == 2 and isinstance(content, bytes):
            for which, kind, inner in fields(content):  # google.protobuf.Value
                if which == 2:
                    given = number(kind, inner)
                    value = int(given) if given.is_integer() and abs(given) < 2**53 else given
                elif which == 3:
                    value = text(inner)
                elif which == 4:
                    value = bool(inner)
    return name, value


def _table() -> list[int]:
    made = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)  # Castagnoli
        made.append(value)
    return made


_TABLE = _table()


def masked_crc(data: bytes) -> int:
    """Gives the checksum of a TFRecord: CRC-32C, turned and moved, so that sums of sums differ."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
