"""Reads many series at once as a grid of cells: layers × steps at the resolution of a screen.

Short stretches are read sample by sample, longer ones by the ladders of their seals (the extremes of each 64 samples),
the longest by their outlines. Not for: single lines (overview.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from server.grid import Grid, Patch, grid_of
from server.store import blocks, pieces, samples, schema, seals
from server.store.engine import Database
from server.store.names import GroupNames
from server.store.series import attempts_of

MOST_CHUNKS = 8_000  # what is unpacked sample by sample, about a quarter of a second


class Heatmaps:
    """The repository of grids."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._names = GroupNames()

    def grid(
        self,
        run_id: str,
        names: Sequence[str],
        *,
        columns: int,
        attempt: int | str = "latest",
        rank: int = 0,
        start: int | None = None,
        stop: int | None = None,
    ) -> Grid:
        """Puts series with start ≤ step ≤ stop on a grid of at most `columns` columns, a row each in the order of
        `names`; `attempt` is one attempt. Series without a sample have an empty row.
        """
        row_of = {name: row for row, name in enumerate(dict.fromkeys(names))}
        first, last = samples.within(start, stop)
        patches: list[Patch] = []
        with self._database.read() as connection:
            (number,) = attempts_of(connection, run_id, attempt)
            where = samples.Where(run_id, [number], rank, first, last)
            places = samples.places(connection, run_id, list(row_of))
            members = self._names.of(connection, run_id, set(places))
            for group, entries in places.items():
                width, dtype = len(members[group][0]), members[group][1]
                positions = [position for _, position in entries]
                rows = np.array([row_of[name] for name, _ in entries])
                patches += _open(connection, where, group, positions, rows, width, dtype)
                patches += _sealed(connection, where, group, positions, rows, width, dtype, columns)
        return grid_of(list(row_of), patches, columns)


def _open(
    connection: Connection,
    where: samples.Where,
    group: int,
    positions: list[int],
    rows: Any,
    width: int,
    dtype: str,
) -> Iterator[Patch]:
    block = schema.blocks.c
    query = (
        select(block["count"].label("samples"), block.data)
        .where(*where.of(schema.blocks, group))
        .order_by(block.seq, block.part)
    )
    for row in connection.execute(query):
        unpacked = blocks.unpack(row.data, dtype, width, row.samples)
        yield from _samples(unpacked.steps, unpacked.values[positions], rows, where)


def _sealed(
    connection: Connection,
    where: samples.Where,
    group: int,
    positions: list[int],
    rows: Any,
    width: int,
    dtype: str,
    columns: int,
) -> Iterator[Patch]:
    seal = schema.seals.c
    found = connection.execute(
        select(seal.number, seal.first_step, seal.last_step, seal["count"].label("samples"), seal.outline)
        .where(*where.of(schema.seals, group))
        .order_by(seal.number)
    ).all()
    if not found:
        return
    inside = {row.number for row in found if row.first_step >= where.first and row.last_step <= where.last}
    if len(found) * len(positions) <= MOST_CHUNKS:
        wanted: dict[int, list[int] | None] = {row.number: None for row in found}
        yield from _unpacked(connection, where, group, wanted, positions, rows, dtype)
        return
    mixed: dict[int, list[int] | None] = {row.number: None for row in found if row.number not in inside}
    by_outline = len(inside) >= columns or width < seals.LADDER_FROM_COLUMNS
    kind = seals.outline_dtype(dtype)
    ladders = {} if by_outline else _ladders(connection, where, group, inside)
    for row in found:
        if row.number not in inside:
            continue
        outline = np.frombuffer(row.outline, kind)[positions]
        bad = outline["nan"].astype(np.int64) + outline["inf"] + outline["-inf"]
        partly = np.flatnonzero((bad > 0) & (bad < row.samples))
        if len(partly):  # only the samples tell where in the seal they are
            mixed[row.number] = partly.tolist()
        kept = (bad == 0) | (bad == row.samples)
        if by_outline:
            steps = np.array([row.first_step])
            low, high = outline["min"][:, None], outline["max"][:, None]
            counts = bad[:, None]
        else:
            steps, low, high, counts = _rungs(ladders[row.number], dtype, width, positions, bad)
        yield Patch(rows[kept], steps, row.last_step, low[kept], high[kept], counts[kept] if bad.any() else None)
    yield from _unpacked(connection, where, group, mixed, positions, rows, dtype)


def _rungs(row: Any, dtype: str, width: int, positions: list[int], bad: Any) -> tuple[Any, Any, Any, Any]:
    steps, _, _ = seals.unpack_axis(row.axis, row.samples)
    low, high = seals.unpack_ladder(row.ladder, dtype, width)
    starts = np.arange(0, row.samples, seals.RUNG_SAMPLES)
    sizes = np.diff(starts, append=row.samples)
    return steps[starts], low[positions], high[positions], (bad > 0)[:, None] * sizes[None, :]


def _ladders(connection: Connection, where: samples.Where, group: int, numbers: set[int]) -> dict[int, Any]:
    seal = schema.seals.c
    rows = connection.execute(
        select(seal.number, seal["count"].label("samples"), seal.axis, seal.ladder).where(
            *where.of(schema.seals, group)
        )
    )
    return {row.number: row for row in rows if row.number in numbers}


def _unpacked(
    connection: Connection,
    where: samples.Where,
    group: int,
    wanted: dict[int, list[int] | None],
    positions: list[int],
    rows: Any,
    dtype: str,
) -> Iterator[Patch]:
    """Unpacks seals sample by sample: of each the columns with these indices into `positions`, or (None) all."""
    if not wanted:
        return
    seal = schema.seals.c
    query = select(
        seal.number, seal["count"].label("samples"), seal.first_piece, seal.axis, seal.directory
    ).where(*where.of(schema.seals, group)).order_by(seal.number)  # fmt: skip
    for row in connection.execute(query).all():
        if row.number not in wanted:
            continue
        some = wanted[row.number]
        chosen = positions if some is None else [positions[index] for index in some]
        steps, _, _ = seals.unpack_axis(row.axis, row.samples)
        offsets = seals.read_directory(row.directory)
        numbers = {
            number
            for position in chosen
            for number in pieces.numbers_of(row.first_piece, int(offsets[position]), int(offsets[position + 1]))
        }
        body = pieces.fetch(connection, where.run_id, numbers)
        kind = np.dtype(f"<{dtype}")
        values = np.empty((len(chosen), row.samples), kind)
        for index, position in enumerate(chosen):
            chunk = pieces.join(body, row.first_piece, int(offsets[position]), int(offsets[position + 1]))
            values[index] = seals.unpack_chunk(chunk, kind, row.samples)
        yield from _samples(steps, values, rows if some is None else rows[some], where)


def _samples(steps: Any, values: Any, rows: Any, where: samples.Where) -> Iterator[Patch]:
    inside = (steps >= where.first) & (steps <= where.last)
    if inside.all():
        yield Patch.of_samples(rows, steps, values)
    elif inside.any():
        yield Patch.of_samples(rows, steps[inside], values[:, inside])
