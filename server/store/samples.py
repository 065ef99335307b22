"""Gathers the samples of series from where they lie: sealed chunks and open blocks, in one read transaction.

The one place that knows both, so that a sample is read once whatever the sealing does. Not for: ordering and joining
them (series.py), or reading outlines instead of samples (overview.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, func, select

from server.domain.series import Steps
from server.store import blocks, pieces, schema, seals
from server.store.blocks import Values
from server.store.names import Members

FAR = 2**62  # beyond any step, within what the database can compare
PIECES_AT_ONCE = 2_048

Key = tuple[str, int]  # name, attempt


@dataclass(frozen=True)
class Part:
    """Holds samples of one series that arrived together, in the order of their arrival."""

    steps: Steps
    times_ms: Steps
    seqs: Steps
    values: Values


@dataclass(frozen=True)
class Where:
    """Says which samples are meant: of which attempts and rank, with first ≤ step ≤ last."""

    run_id: str
    attempts: Collection[int]
    rank: int
    first: int = -FAR
    last: int = FAR

    def of(self, table: Any, group: int) -> list[Any]:
        """Gives the conditions on blocks or seals of one group that may hold such samples."""
        columns = table.c
        conditions = [
            columns.run_id == self.run_id,
            columns.group == group,
            columns.attempt.in_(self.attempts),
            columns.rank == self.rank,
        ]
        if self.first > -FAR:
            conditions.append(columns.last_step >= self.first)
        if self.last < FAR:
            conditions.append(columns.first_step <= self.last)
        return conditions


def within(start: int | None, stop: int | None) -> tuple[int, int]:
    """Brings the bounds of a range into what the database can compare."""
    return (-FAR if start is None else max(-FAR, min(start, FAR))), (FAR if stop is None else max(-FAR, min(stop, FAR)))


def places(connection: Connection, run_id: str, names: Sequence[str]) -> dict[int, list[tuple[str, int]]]:
    """Gives for each group that holds one of the series their positions in it."""
    series, members = schema.series.c, schema.group_members.c
    rows = connection.execute(
        select(members.group, series.name, members.position)
        .join_from(
            schema.series,
            schema.group_members,
            (members.run_id == series.run_id) & (members.series == series.number),
        )
        .where(series.run_id == run_id, series.name.in_(names))
        .order_by(members.group, members.position)
    )
    found: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for group, name, position in rows:
        found[group].append((name, position))
    return found


def sealed_rows(
    connection: Connection, where: Where, group: int, positions: Sequence[int], *more: Any
) -> Sequence[Row[Any]]:
    """Reads the seals of one group with that part of their directory that names the positions."""
    low, high = min(positions), max(positions)
    seal = schema.seals.c
    size = seals.OFFSET_BYTES
    return connection.execute(
        select(
            seal.attempt,
            seal.number,
            seal.first_step,
            seal.last_step,
            seal.first_ms,
            seal["count"].label("samples"),
            seal.first_piece,
            func.substr(seal.directory, 1 + size * low, size * (high - low + 2)).label("directory"),
            *more,
        )
        .where(*where.of(schema.seals, group))
        .order_by(seal.attempt, seal.number)
    ).all()


def gather(
    connection: Connection, where: Where, wanted: dict[int, list[tuple[str, int]]], members: dict[int, Members]
) -> dict[Key, list[Part]]:
    """Reads every sample of the wanted series whose seal or block reaches into the range."""
    found: dict[Key, list[Part]] = defaultdict(list)
    for group, entries in wanted.items():
        columns, dtype = members[group]
        for key, part in open_parts(connection, where, group, entries, len(columns), dtype):
            found[key].append(part)
        rows = sealed_rows(connection, where, group, [position for _, position in entries], schema.seals.c.axis)
        for key, part in sealed_parts(connection, where.run_id, rows, entries, dtype):
            found[key].append(part)
    return found


def open_parts(
    connection: Connection, where: Where, group: int, entries: Sequence[tuple[str, int]], columns: int, dtype: str
) -> Iterator[tuple[Key, Part]]:
    """Reads the open blocks of one group."""
    block = schema.blocks.c
    query = (
        select(block.attempt, block.seq, block["count"].label("samples"), block.data)
        .where(*where.of(schema.blocks, group))
        .order_by(block.seq, block.part)
    )
    for row in connection.execute(query):
        unpacked = blocks.unpack(row.data, dtype, columns, row.samples)
        seqs = np.full(row.samples, row.seq, np.int64)
        for name, position in entries:
            yield (name, row.attempt), Part(unpacked.steps, unpacked.times_ms, seqs, unpacked.values[position])


def sealed_parts(
    connection: Connection, run_id: str, rows: Sequence[Any], entries: Sequence[tuple[str, int]], dtype: str
) -> Iterator[tuple[Key, Part]]:
    """Unpacks the chunks of the entries from rows of `sealed_rows`, a bounded number of pages at a time."""
    low = min((position for _, position in entries), default=0)
    for batch in _batches(rows, [position - low for _, position in entries]):
        body = pieces.fetch(connection, run_id, {number for _, _, numbers in batch for number in numbers})
        for row, offsets, _ in batch:
            steps, times, seqs = seals.unpack_axis(row.axis, row.samples)
            kind = np.dtype(f"<{dtype}")
            for name, position in entries:
                begin, end = int(offsets[position - low]), int(offsets[position - low + 1])
                chunk = pieces.join(body, row.first_piece, begin, end)
                yield (name, row.attempt), Part(steps, times, seqs, seals.unpack_chunk(chunk, kind, row.samples))


def _batches(rows: Sequence[Any], positions: Sequence[int]) -> Iterator[list[tuple[Any, Any, set[int]]]]:
    batch: list[tuple[Any, Any, set[int]]] = []
    count = 0
    for row in rows:
        offsets = seals.read_directory(row.directory)
        numbers: set[int] = set()
        for position in positions:
            numbers.update(pieces.numbers_of(row.first_piece, int(offsets[position]), int(offsets[position + 1])))
        if batch and count + len(numbers) > PIECES_AT_ONCE:
            yield batch
            batch, count = [], 0
        batch.append((row, offsets, numbers))
        count += len(numbers)
    if batch:
        yield batch
