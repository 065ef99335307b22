"""Packs the identities of frames whose samples are sealed, many in a row: a few bytes a frame keep ingest idempotent.

Not for: frames whose samples are still open (frames.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select

from server.store import chunks, schema

LEAST_FRAMES = 256
MOST_FRAMES = 16_384
_ROWS = 2  # CRC, complete


def pack(connection: Connection, run_id: str, attempt: int, rank: int) -> None:
    """Packs the frames of a stream that are complete up to here and have no open block left, if they are many."""
    frames, packs, block, streams = schema.frames.c, schema.frame_packs.c, schema.blocks.c, schema.streams.c
    contiguous = connection.execute(select(streams.contiguous).where(_of(streams, run_id, attempt, rank))).scalar()
    first_open = connection.execute(select(func.min(block.seq)).where(_of(block, run_id, attempt, rank))).scalar()
    limit = -1 if contiguous is None else contiguous if first_open is None else min(contiguous, first_open - 1)
    this = and_(_of(frames, run_id, attempt, rank), frames.seq <= limit)
    rows = connection.execute(
        select(frames.seq, frames.crc, frames.complete).where(this).order_by(frames.seq).limit(MOST_FRAMES)
    ).all()
    if len(rows) < LEAST_FRAMES:
        return
    last = rows[-1].seq
    before = connection.execute(select(func.max(packs.last_seq)).where(_of(packs, run_id, attempt, rank))).scalar()
    first = 0 if before is None else before + 1
    if rows[0].seq != first or last != first + len(rows) - 1:
        return  # there is a gap after all: they stay as they are
    table = np.array([(row.crc, row.complete) for row in rows], np.int64).T
    connection.execute(
        insert(schema.frame_packs),
        {
            "run_id": run_id,
            "attempt": attempt,
            "rank": rank,
            "first_seq": first,
            "last_seq": last,
            "data": chunks.pack_table(table),
        },
    )
    connection.execute(delete(schema.frames).where(_of(frames, run_id, attempt, rank), frames.seq <= last))


def crc_of(connection: Connection, run_id: str, attempt: int, rank: int, seq: int) -> int | None:
    """Gives the CRC of a packed frame; None if it is not packed."""
    packs = schema.frame_packs.c
    row = connection.execute(
        select(packs.first_seq, packs.last_seq, packs.data)
        .where(_of(packs, run_id, attempt, rank), packs.first_seq <= seq)
        .order_by(packs.first_seq.desc())
        .limit(1)
    ).one_or_none()
    if row is None or row.last_seq < seq:
        return None
    crcs, _ = _unpack(row)
    return int(crcs[seq - row.first_seq])


def after(connection: Connection, run_id: str, attempt: int, rank: int, seq: int) -> Iterator[tuple[int, int]]:
    """Gives seq and complete of the packed frames after `seq`, in order."""
    where = {"b_run": run_id, "b_attempt": attempt, "b_rank": rank, "b_seq": seq}
    rows = connection.execute(_AFTER, where).all()
    for row in rows:
        _, complete = _unpack(row)
        for offset in range(max(0, seq + 1 - row.first_seq), len(complete)):
            yield row.first_seq + offset, int(complete[offset])


_p = schema.frame_packs.c
_AFTER = (
    select(_p.first_seq, _p.last_seq, _p.data)
    .where(
        _p.run_id == bindparam("b_run"),
        _p.attempt == bindparam("b_attempt"),
        _p.rank == bindparam("b_rank"),
        _p.last_seq > bindparam("b_seq"),
    )
    .order_by(_p.first_seq)
)


def _unpack(row: Any) -> list[Any]:
    return chunks.unpack_table(row.data, _ROWS, row.last_seq - row.first_seq + 1)


def _of(columns: Any, run_id: str, attempt: int, rank: int) -> Any:
    return and_(columns.run_id == run_id, columns.attempt == attempt, columns.rank == rank)
