"""Seals open tails: moves the samples of a group from the blocks in which they came into packed chunks.

A seal is read and packed beside the writer, and stored in one transaction with the deletion of its blocks, so that a
sample is always in exactly one of both places. What a crash interrupts is done again. Not for: the layout (seals.py).
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, and_, delete, func, insert, select

from server.domain.runs import ENDED, RunState
from server.errors import GradwatchError
from server.store import blocks, frame_packs, schema, seals
from server.store.engine import Database
from server.store.writer import Writer

SETTLE_MS = 5_000  # after the end of a run, for frames that are still on their way
MOST_VALUES_AT_ONCE = 4_000_000
_OVER = (*(state.value for state in ENDED), RunState.SILENT.value)


@dataclass(frozen=True)
class Tail:
    """Names the open samples of one group in one attempt and rank."""

    run_id: str
    group: int
    attempt: int
    rank: int

    def where(self, table: Any) -> Any:
        """Selects what belongs to it in a table with such a key."""
        columns = table.c
        return and_(
            columns.run_id == self.run_id,
            columns.group == self.group,
            columns.attempt == self.attempt,
            columns.rank == self.rank,
        )


@dataclass(frozen=True)
class _Open:
    """Blocks that were read: how many, up to which seq, and their samples."""

    rows: int
    last_seq: int
    samples: seals.Samples


class _Moved(GradwatchError):
    """The blocks are no longer those that were read."""


class Sealer:
    """Knows how long each open tail is, and seals those that are due; may be used from any thread."""

    def __init__(self, database: Database, writer: Writer, clock: Callable[[], int]) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock
        self._lock = threading.Lock()
        self._lengths: dict[Tail, int] = defaultdict(int)
        self._ended: dict[str, int] = {}

    def note(self, run_id: str, attempt: int, rank: int, added: Iterable[tuple[int, int]], *, ended: bool) -> None:
        """Hears of a frame that was stored: how many samples each group got, and whether the run has ended."""
        with self._lock:
            for group, count in added:
                self._lengths[Tail(run_id, group, attempt, rank)] += count
            if ended:
                self._ended[run_id] = self._clock() + SETTLE_MS
            else:
                self._ended.pop(run_id, None)

    def note_end(self, run_ids: Iterable[str]) -> None:
        """Hears of runs that ended without a frame: they fell silent."""
        with self._lock:
            self._ended |= dict.fromkeys(run_ids, self._clock() + SETTLE_MS)

    def look_around(self) -> None:
        """Finds the open tails of the whole database: after a start, and those that another process left."""
        block = schema.blocks.c
        tail = (block.run_id, block.group, block.attempt, block.rank)
        with self._database.read() as connection:
            found = connection.execute(select(*tail, func.sum(block["count"]).label("samples")).group_by(*tail)).all()
            runs = {row.run_id for row in found}
            ended = connection.execute(
                select(schema.runs.c.id).where(schema.runs.c.id.in_(runs), schema.runs.c.state.in_(_OVER))
            ).scalars()
            over = set(ended)
        with self._lock:
            self._lengths = defaultdict(
                int, {Tail(row.run_id, row.group, row.attempt, row.rank): int(row.samples) for row in found}
            )
        self.note_end(over)

    def run_once(self, *, everything: bool = False, stopped: Callable[[], bool] = lambda: False) -> int:
        """Seals what is due (`everything`: all that is open) until `stopped`, and gives how many tails that was."""
        count = 0
        for tail, least in self._due(everything=everything):
            while not stopped() and self.seal(tail, least):
                count += 1
        return count

    def seal(self, tail: Tail, least: int = 1) -> bool:
        """Seals what is open of a tail, as far as one turn goes; False when fewer than `least` samples are, or when
        they changed meanwhile.
        """
        found = self._read(tail)
        if found is None or len(found.samples.steps) < least:
            with self._lock:
                self._lengths[tail] = 0 if found is None else len(found.samples.steps)
                if found is None:
                    del self._lengths[tail]
            return False
        packed = [seals.seal(part) for part in found.samples.parts()]
        size = sum(len(one.body) + len(one.outline) + len(one.ladder) for one in packed)
        try:
            self._writer.run(lambda connection: self._store(connection, tail, found, packed), size)
        except _Moved:
            return False
        with self._lock:
            self._lengths[tail] = max(0, self._lengths[tail] - len(found.samples.steps))
        return True

    def _due(self, *, everything: bool) -> list[tuple[Tail, int]]:
        now = self._clock()
        with self._lock:
            over = {run_id for run_id, due_ms in self._ended.items() if due_ms <= now}
            for run_id in over:
                del self._ended[run_id]
            return [
                (tail, 1 if everything or tail.run_id in over else seals.SAMPLES)
                for tail, length in self._lengths.items()
                if length >= seals.SAMPLES or (length and (everything or tail.run_id in over))
            ]

    def _read(self, tail: Tail) -> _Open | None:
        block, groups = schema.blocks.c, schema.groups.c
        with self._database.read() as connection:
            group = connection.execute(
                select(groups.dtype, groups["columns"].label("members")).where(
                    groups.run_id == tail.run_id, groups.number == tail.group
                )
            ).one_or_none()
            if group is None:
                return None  # deleted meanwhile
            columns = len(group.members) // 4
            query = (
                select(block.seq, block["count"].label("samples"), block.data)
                .where(tail.where(schema.blocks))
                .order_by(block.seq, block.part)
            )
            parts: list[tuple[int, blocks.Block]] = []
            values = 0
            for row in connection.execute(query):
                if values >= MOST_VALUES_AT_ONCE and row.seq != parts[-1][0]:
                    break
                parts.append((row.seq, blocks.unpack(row.data, group.dtype, columns, row.samples)))
                values += columns * row.samples
        if not parts:
            return None
        return _Open(len(parts), parts[-1][0], _by_step(parts))

    def _store(self, connection: Connection, tail: Tail, found: _Open, packed: Sequence[seals.Seal]) -> None:
        gone = connection.execute(
            delete(schema.blocks).where(tail.where(schema.blocks), schema.blocks.c.seq <= found.last_seq)
        )
        if gone.rowcount != found.rows:
            raise _Moved("The open samples changed while they were packed.")
        number = _next(connection, schema.seals.c.number, tail.where(schema.seals))
        piece = _next(connection, schema.pieces.c.number, schema.pieces.c.run_id == tail.run_id)
        rows: list[dict[str, Any]] = []
        pieces: list[dict[str, Any]] = []
        for offset, one in enumerate(packed):
            rows.append(
                {
                    "run_id": tail.run_id,
                    "group": tail.group,
                    "attempt": tail.attempt,
                    "rank": tail.rank,
                    "number": number + offset,
                    "first_step": one.first_step,
                    "last_step": one.last_step,
                    "first_seq": one.first_seq,
                    "last_seq": one.last_seq,
                    "first_ms": one.first_ms,
                    "last_ms": one.last_ms,
                    "count": one.count,
                    "first_piece": piece + len(pieces),
                    "axis": one.axis,
                    "directory": one.directory,
                    "outline": one.outline,
                    "ladder": one.ladder,
                }
            )
            for data in one.pieces():
                pieces.append({"run_id": tail.run_id, "number": piece + len(pieces), "data": data})
        connection.execute(insert(schema.seals), rows)
        connection.execute(insert(schema.pieces), pieces)
        frame_packs.pack(connection, tail.run_id, tail.attempt, tail.rank)


def _by_step(parts: Sequence[tuple[int, blocks.Block]]) -> seals.Samples:
    """Joins blocks in the order of their steps, those of the same step in the order of their arrival."""
    steps = np.concatenate([part.steps for _, part in parts])
    times = np.concatenate([part.times_ms for _, part in parts])
    seqs = np.concatenate([np.full(len(part.steps), seq, np.int64) for seq, part in parts])
    values = np.concatenate([part.values for _, part in parts], axis=1)
    if bool((steps[1:] < steps[:-1]).any()):
        order = np.argsort(steps, kind="stable")
        steps, times, seqs, values = steps[order], times[order], seqs[order], values[:, order]
    return seals.Samples(steps, times, seqs, values)


def _next(connection: Connection, column: Any, where: Any) -> int:
    newest: int | None = connection.execute(select(func.max(column)).where(where)).scalar_one()
    return 0 if newest is None else newest + 1
