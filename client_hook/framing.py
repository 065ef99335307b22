"""Makes frames of rows and records: groups by names, chooses float32 or float64, drops single bad values, counts them.

Works in the journal thread. Not for: the bytes of a frame (wire) or where frames go (spool, courier).
"""

from __future__ import annotations

import json
import numbers
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from client_hook import wire
from client_hook.guard import quietly
from client_hook.identity import Identity
from client_hook.ledger import Ledger
from client_hook.plain_rows import Row
from client_hook.records import MAX_NAME_CHARACTERS, clean_text

MAX_RAW_BYTES = 1024 * 1024
# 64 rows fill 1 MiB where rows are wide; a narrow group may go on, or a loop of 0.5 ms a step would send 30 frames a
# second
MAX_ROWS_A_FRAME = 1024
MAX_HEADER_BYTES = 1024 * 1024
MAX_COLUMNS_A_GROUP = 20_000
MAX_GROUPS_A_FRAME = 500
_PLAIN = {float, int, bool}


@dataclass(eq=False, repr=False)
class Cut:
    """Holds one encoded frame, and how many values are in it."""

    data: bytes
    seq: int
    values: int
    complete: int
    final: bool


@dataclass(eq=False, repr=False)
class _Table:
    """Collects the rows of one group until the frame is cut; values row after row."""

    names: tuple[str, ...]
    exact: bool
    steps: array[int] = field(default_factory=lambda: array("q"))
    times: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))


def _is_usual(row: Row) -> bool:
    """Says whether a row with one name holds what nobody need look at more closely."""
    step, time_ms, _, values, _ = row
    return (
        len(values) == 1
        and type(values[0]) is float
        and type(step) is int
        and type(time_ms) is int
        and -(2**53) < step < 2**53
        and -(2**53) < time_ms < 2**53
    )


class FrameCutter:
    """Cuts the frames of one (run, attempt, rank); keeps the next seq."""

    def __init__(self, identity: Identity, ledger: Ledger, *, first_seq: int = 0) -> None:
        self.identity = identity
        self.seq = first_seq
        self._ledger = ledger
        self._complete = -1
        self._names: dict[int, tuple[tuple[str, ...], tuple[str, ...], list[int]]] = {}

    def cut(self, rows: Sequence[Row], records: Sequence[dict[str, Any]], complete: int, now_ms: int) -> Iterator[Cut]:
        """Yields the frames that carry these rows and records; only the last one says `complete`."""
        parts = [*self._split(rows)]
        chunks = [*_record_chunks(records)]
        count = max(len(parts), len(chunks))
        if count == 0 and complete > self._complete:
            count = 1
        for index in range(count):
            last = index == count - 1
            tables = parts[index] if index < len(parts) else []
            part_records = chunks[index] if index < len(chunks) else []
            if last:
                self._complete = max(complete, self._complete)
            yield self._encode(tables, part_records, now_ms)

    def _encode(self, tables: list[_Table], records: list[dict[str, Any]], now_ms: int) -> Cut:
        groups = tuple(group for table in tables for group in _groups(table))
        frame = wire.Frame(
            run=self.identity.run_id,
            attempt=self.identity.attempt,
            rank=self.identity.rank,
            seq=self.seq,
            created_ms=max(now_ms, 0),
            complete=self._complete,
            groups=groups,
            records=tuple(records),
        )
        data = wire.encode(frame)
        values = sum(len(table.values) for table in tables)
        final = any(record["kind"] == "status" for record in records)
        cut = Cut(data, self.seq, values, self._complete, final)
        self.seq += 1
        return cut

    def _split(self, rows: Sequence[Row]) -> Iterator[list[_Table]]:
        tables: dict[tuple[tuple[str, ...], bool], _Table] = {}
        # of single scalars, by what they are called: most rows of all, and the training waits while Python reads them
        singles: dict[tuple[int, bool], _Table] = {}
        raw = header = 0
        for row in rows:
            single = singles.get((id(row[2]), row[4]))
            if (
                single is not None
                and raw < MAX_RAW_BYTES - 24
                and len(single.steps) < MAX_ROWS_A_FRAME
                and _is_usual(row)
            ):
                single.steps.append(row[0])
                single.times.append(row[1])
                single.values.append(row[3][0])
                raw += 24
                continue
            for names, step, time_ms, values, exact in self._clean(row):
                table = tables.get((names, exact))
                new_header = sum(map(len, names)) + 3 * len(names) if table is None else 0
                new_raw = 16 + 8 * len(names)
                full = table is not None and len(table.steps) >= MAX_ROWS_A_FRAME
                wide = raw + new_raw > MAX_RAW_BYTES or header + new_header > MAX_HEADER_BYTES
                if tables and (full or wide or len(tables) >= MAX_GROUPS_A_FRAME):
                    yield [*tables.values()]
                    tables, raw, header, table = {}, 0, 0, None
                    singles = {}
                    new_header = sum(map(len, names)) + 3 * len(names)
                if table is None:
                    table = tables[names, exact] = _Table(names, exact)
                if len(names) == 1 and names is row[2]:
                    singles[id(names), exact] = table
                table.steps.append(step)
                table.times.append(time_ms)
                table.values.extend(values)
                raw += new_raw
                header += new_header
        if tables:
            yield [*tables.values()]

    def _clean(self, row: Row) -> Iterator[tuple[tuple[str, ...], int, int, array[float], bool]]:
        step, time_ms, given_names, given, exact = row
        if not (type(step) is int and type(time_ms) is int and -(2**53) < step < 2**53 and abs(time_ms) < 2**53):
            step_, time_ = quietly(int, step), quietly(int, time_ms)
            if step_ is None or time_ is None or abs(step_) >= 2**53 or abs(time_) >= 2**53:
                self._ledger.drop("the step or the time of the row is not an integer", len(given))
                return
            step, time_ms = step_, time_
        names, kept = self._usable(given_names)
        values: array[float]
        if kept is not None or len(given) != len(names):
            usable = kept if kept is not None else [*range(len(names))]
            picked = [given[index] for index in usable if index < len(given)]
            self._ledger.drop("two values under one name, or values without a name", len(given) - len(picked))
            names = names[: len(picked)]
            given = picked
        if (isinstance(given, array) and given.typecode in "df") or set(map(type, given)) <= _PLAIN:
            converted = quietly(array, "d", given)
        else:
            converted = None
        if converted is None:
            names, values = self._one_by_one(names, given)
        else:
            values = converted
        for start in range(0, len(names), MAX_COLUMNS_A_GROUP):
            if len(names) <= MAX_COLUMNS_A_GROUP:
                yield names, step, time_ms, values, exact
            else:
                stop = start + MAX_COLUMNS_A_GROUP
                yield names[start:stop], step, time_ms, values[start:stop], exact

    def _usable(self, given: tuple[str, ...]) -> tuple[tuple[str, ...], list[int] | None]:
        """Cleans the names of a group, once for every tuple; also says which columns are kept, None = all."""
        known = self._names.get(id(given))
        if known is None or known[0] is not given:
            seen: dict[str, int] = {}
            for index, name in enumerate(given):
                seen[clean_text(name, MAX_NAME_CHARACTERS) or "unnamed"] = index
            names = tuple(seen)
            if len(self._names) > 1_000:
                self._names.clear()  # tuples that are made anew at each call must not pile up
            # equal names give one group even when the tuples differ
            known = self._names[id(given)] = (given, given if names == given else names, [*seen.values()])
        return known[1], None if len(known[2]) == len(given) else known[2]

    def _one_by_one(self, names: tuple[str, ...], given: Sequence[Any]) -> tuple[tuple[str, ...], array[float]]:
        kept: list[str] = []
        values = array("d")
        for name, value in zip(names, given, strict=True):
            number = as_float(value)
            if number is None:
                self._ledger.drop(f"not a number: {type(value).__name__}")
            else:
                kept.append(name)
                values.append(number)
        return tuple(kept), values


def as_float(value: Any) -> float | None:
    """Reads one number, or None for what is none: text, None, complex, an integer that no float can hold."""
    if value is None or isinstance(value, (str, bytes, bytearray)):
        return None
    if isinstance(value, numbers.Complex) and not isinstance(value, numbers.Real):
        return None
    number = quietly(float, value)
    return number if isinstance(number, float) else None


def _groups(table: _Table) -> Iterator[wire.Group]:
    """Packs a table; one of Python numbers is split where float32 does not hold every value of a column exactly."""
    width, count = len(table.names), len(table.steps)
    narrow: tuple[list[str], array[float]] = ([], array("f"))
    wide: tuple[list[str], array[float]] = ([], array("d"))
    for index, name in enumerate(table.names):
        column = table.values[index::width]
        small = array("f", column)
        if not table.exact or array("d", small).tobytes() == column.tobytes():
            narrow[0].append(name)
            narrow[1].extend(small)
        else:
            wide[0].append(name)
            wide[1].extend(column)
    steps, times = _bytes(table.steps), _bytes(table.times)
    for dtype, (names, values) in (("f4", narrow), ("f8", wide)):
        if names:
            yield wire.Group(tuple(names), dtype, count, steps, times, _bytes(values))


def _bytes(numbers_: array[Any]) -> bytes:
    if sys.byteorder == "big":
        numbers_ = numbers_[:]
        numbers_.byteswap()
    return numbers_.tobytes()


def _record_chunks(records: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    size = 0
    for record in records:
        length = len(json.dumps(record, separators=(",", ":"), allow_nan=False))
        if chunk and (size + length > MAX_HEADER_BYTES or len(chunk) >= 5_000):
            yield chunk
            chunk, size = [], 0
        chunk.append(record)
        size += length
    if chunk:
        yield chunk
