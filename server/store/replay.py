"""Gives the frames of a stream as they were sent, for the diagnosis: from open blocks and sealed chunks alike.

A replay over a sealed run is therefore the same as the live evaluation was. Not for: charts (series.py).
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from server.domain.runs import Fact
from server.domain.series import Floats, Steps
from server.store import blocks, frame_packs, pieces, schema, seals, statements
from server.store.engine import Database
from server.store.names import GroupNames

MOST_REMEMBERED_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class StoredGroup:
    """Holds one group of a stored frame; values are float64, shape (columns, steps)."""

    columns: tuple[str, ...]
    steps: Steps
    times_ms: Steps
    values: Floats


@dataclass(frozen=True)
class StoredFrame:
    """Holds a frame as the diagnosis replays it."""

    seq: int
    complete: int
    groups: list[StoredGroup]
    facts: list[Fact]


class Replay:
    """Reads frames; remembers the seals that it unpacked last, because the frames of one are read in several turns."""

    def __init__(self, database: Database, names: GroupNames) -> None:
        self._database = database
        self._names = names
        self._unpacked: OrderedDict[tuple[Any, ...], seals.Samples] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def ranks(self, run_id: str, attempt: int) -> list[int]:
        """Lists the ranks that sent values in an attempt, in order."""
        with self._database.read() as connection:
            where = {"b_run": run_id, "b_attempt": attempt}
            return [int(rank) for (rank,) in connection.execute(statements.RANKS, where)]

    def newest(self, run_id: str, attempt: int, rank: int) -> int:
        """Gives the highest seq of a stream; −1 where there is none."""
        stream = schema.streams.c
        this = (stream.run_id == run_id, stream.attempt == attempt, stream["rank"] == rank)
        with self._database.read() as connection:
            found: int | None = connection.execute(select(stream.highest).where(*this)).scalar_one_or_none()
        return -1 if found is None else found

    def since(
        self, run_id: str, attempt: int, rank: int, after_seq: int, limit: int, *, past_gap: bool = False
    ) -> list[StoredFrame]:
        """Reads the frames after `after_seq` up to the first gap, at most `limit`, in the order of seq.

        `past_gap` begins with the next frame that there is, where the very next one is missing.
        """
        where = {"b_run": run_id, "b_attempt": attempt, "b_rank": rank, "b_after": after_seq, "b_limit": limit}
        with self._database.read() as connection:
            found: dict[int, StoredFrame] = {}
            single = [(row.seq, row.complete) for row in connection.execute(statements.SINCE, where)]
            packed: Iterable[tuple[int, int]] = ()
            if not single or single[0][0] != after_seq + 1:  # packed ones come before all others
                packed = frame_packs.after(connection, run_id, attempt, rank, after_seq)
            for seq, complete in chain(packed, single):
                if past_gap and not found:
                    after_seq = seq - 1
                if seq != after_seq + 1 + len(found) or len(found) >= limit:
                    break
                found[seq] = StoredFrame(seq, complete, [], [])
            if not found:
                return []
            where |= {"b_after": after_seq, "b_last": after_seq + len(found)}
            self._add_sealed(connection, where, found)
            rows = connection.execute(statements.SINCE_BLOCKS, where).all()
            names = self._names.of(connection, run_id, {row.group for row in rows})
            for row in rows:
                columns, dtype = names[row.group]
                block = blocks.unpack(row.data, dtype, len(columns), row.samples)
                group = StoredGroup(columns, block.steps, block.times_ms, blocks.as_floats(block.values))
                found[row.seq].groups.append(group)
            for row in connection.execute(statements.SINCE_FACTS, where):
                found[row.seq].facts.append(Fact(row.name, row.step, json.loads(row.value), attempt))
        return list(found.values())

    def _add_sealed(self, connection: Connection, where: dict[str, Any], found: dict[int, StoredFrame]) -> None:
        rows = connection.execute(statements.SINCE_SEALS, where).all()
        names = self._names.of(connection, where["b_run"], {row.group for row in rows})
        for row in rows:
            columns, dtype = names[row.group]
            key = (where["b_run"], row.group, where["b_attempt"], where["b_rank"], row.number, hash(row.directory))
            samples = self._samples(connection, key, row, len(columns), dtype)
            for seq, cut in _frames_in(samples.seqs):
                frame = found.get(seq)
                if frame is None:
                    continue
                values = blocks.as_floats(samples.values[:, cut])
                group = StoredGroup(columns, samples.steps[cut], samples.times_ms[cut], values)
                if frame.groups and frame.groups[-1].columns == columns:
                    frame.groups[-1] = _joined(frame.groups[-1], group)  # another seal has the rest of it
                else:
                    frame.groups.append(group)

    def _samples(
        self, connection: Connection, key: tuple[Any, ...], row: Any, columns: int, dtype: str
    ) -> seals.Samples:
        with self._lock:
            known = self._unpacked.get(key)
            if known is not None:
                self._unpacked.move_to_end(key)
                return known
        steps, times, seqs = seals.unpack_axis(row.axis, row.samples)
        offsets = seals.read_directory(row.directory)
        end = int(offsets[-1])
        numbers = pieces.numbers_of(row.first_piece, 0, end)
        body = pieces.join(pieces.fetch(connection, key[0], numbers), row.first_piece, 0, end)
        values = seals.unpack_columns(body, offsets, range(columns), dtype, row.samples)
        samples = seals.Samples(steps, times, seqs, values)
        with self._lock:
            if key not in self._unpacked:
                self._unpacked[key] = samples
                self._bytes += values.nbytes
            while len(self._unpacked) > 1 and self._bytes > MOST_REMEMBERED_BYTES:
                self._bytes -= self._unpacked.popitem(last=False)[1].values.nbytes
        return samples


def _frames_in(seqs: Steps) -> Iterator[tuple[int, slice | Steps]]:
    """Gives of each frame in a seal its seq and where its samples are."""
    order = None if bool((seqs[1:] >= seqs[:-1]).all()) else np.argsort(seqs, kind="stable")
    by_seq = seqs if order is None else seqs[order]
    edges = np.flatnonzero(np.diff(by_seq, prepend=by_seq[0] - 1, append=by_seq[-1] + 1))
    for begin, end in pairwise(edges.tolist()):
        yield int(by_seq[begin]), slice(begin, end) if order is None else order[begin:end]


def _joined(one: StoredGroup, other: StoredGroup) -> StoredGroup:
    return StoredGroup(
        one.columns,
        np.concatenate((one.steps, other.steps)),
        np.concatenate((one.times_ms, other.times_ms)),
        np.concatenate((one.values, other.values), axis=1),
    )
