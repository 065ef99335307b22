"""Reads series: which ones a run has, and their samples, ordered by step, then by arrival.

The one place that knows where samples lie, so that sealed chunks can join the open blocks here. Not for: cutting them
into what a chart can draw (server.downsample).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from sqlalchemy import Connection, func, select

from server.domain.series import SeriesData, SeriesInfo, Steps
from server.store import blocks, schema
from server.store.engine import Database
from server.store.names import GroupNames
from server.store.summary import Summary

_FAR = 2**62  # beyond any step, within what the database can compare


class SeriesReader:
    """The repository of series."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._names = GroupNames()

    def names(self, run_id: str, attempt: int | str = "latest") -> list[SeriesInfo]:
        """Lists the series of an attempt, all ranks together, in the order in which they were first seen."""
        summaries = schema.summaries.c
        found: dict[str, SeriesInfo] = {}
        with self._database.read() as connection:
            (number,) = _attempts(connection, run_id, attempt)
            rows = connection.execute(
                select(summaries.group, summaries.data)
                .where(summaries.run_id == run_id, summaries.attempt == number)
                .order_by(summaries.group, summaries.rank)
            ).all()
            members = self._names.of(connection, run_id, {row.group for row in rows})
        for row in rows:
            summary = Summary.unpack(row.data)
            for index, name in enumerate(members[row.group][0]):
                info = _info(name, summary, index)
                found[name] = _joined(found[name], info) if name in found else info
        return list(found.values())

    def read(
        self,
        run_id: str,
        names: Sequence[str],
        *,
        attempt: int | str = "latest",
        rank: int = 0,
        start: int | None = None,
        stop: int | None = None,
    ) -> list[SeriesData]:
        """Reads the samples of series with start ≤ step ≤ stop, in the order of `names`, then of attempts.

        `attempt` is a number, "latest" or "all". Series (or attempts) that have no sample there are left out.
        """
        wanted = list(dict.fromkeys(names))
        if not wanted:
            return []
        parts: dict[tuple[str, int], list[tuple[Steps, Steps, blocks.Values]]] = defaultdict(list)
        with self._database.read() as connection:
            numbers = _attempts(connection, run_id, attempt)
            places = _places(connection, run_id, wanted)
            members = self._names.of(connection, run_id, set(places))
            block = schema.blocks.c
            query = (
                select(block.group, block.attempt, block["count"].label("samples"), block.data)
                .where(block.run_id == run_id, block.group.in_(places), block.attempt.in_(numbers), block.rank == rank)
                .order_by(block.seq, block.part)
            )
            if start is not None:
                start = max(-_FAR, min(start, _FAR))
                query = query.where(block.last_step >= start)
            if stop is not None:
                stop = max(-_FAR, min(stop, _FAR))
                query = query.where(block.first_step <= stop)
            for row in connection.execute(query):
                columns, dtype = members[row.group]
                unpacked = blocks.unpack(row.data, dtype, len(columns), row.samples)
                for name, position in places[row.group]:
                    sample = (unpacked.steps, unpacked.times_ms, unpacked.values[position])
                    parts[name, row.attempt].append(sample)
        found = [
            _ordered(name, number, rank, parts[name, number], start, stop)
            for name in wanted
            for number in sorted(numbers)
            if (name, number) in parts
        ]
        return [data for data in found if len(data.steps)]


def _attempts(connection: Connection, run_id: str, attempt: int | str) -> list[int]:
    if isinstance(attempt, int):
        return [attempt]
    if attempt == "all":
        attempts = schema.attempts.c
        return list(connection.execute(select(attempts.number).where(attempts.run_id == run_id)).scalars())
    latest = select(func.max(schema.runs.c.latest_attempt)).where(schema.runs.c.id == run_id)
    return [connection.execute(latest).scalar_one() or 0]


def _places(connection: Connection, run_id: str, names: Sequence[str]) -> dict[int, list[tuple[str, int]]]:
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
    )
    places: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for group, name, position in rows:
        places[group].append((name, position))
    return places


def _ordered(
    name: str,
    attempt: int,
    rank: int,
    parts: list[tuple[Steps, Steps, blocks.Values]],
    start: int | None,
    stop: int | None,
) -> SeriesData:
    steps = np.concatenate([part[0] for part in parts])
    times = np.concatenate([part[1] for part in parts])
    values = np.concatenate([blocks.as_floats(part[2]) for part in parts])
    if len(steps) > 1 and bool((steps[1:] < steps[:-1]).any()):
        order = np.argsort(steps, kind="stable")
        steps, times, values = steps[order], times[order], values[order]
    first = 0 if start is None else int(np.searchsorted(steps, start, "left"))
    last = len(steps) if stop is None else int(np.searchsorted(steps, stop, "right"))
    return SeriesData(name, attempt, rank, steps[first:last], times[first:last], values[first:last])


def _info(name: str, summary: Summary, index: int) -> SeriesInfo:
    least, most = float(summary.least[index]), float(summary.most[index])
    return SeriesInfo(
        name=name,
        count=int(summary.count[index]),
        nonfinite=int(summary.nonfinite[index]),
        first_step=int(summary.first_step[index]),
        last_step=int(summary.last_step[index]),
        last_value=float(summary.last[index]),
        min=least if math.isfinite(least) else None,
        max=most if math.isfinite(most) else None,
    )


def _joined(one: SeriesInfo, other: SeriesInfo) -> SeriesInfo:
    later = other if other.last_step >= one.last_step else one
    return SeriesInfo(
        name=one.name,
        count=one.count + other.count,
        nonfinite=one.nonfinite + other.nonfinite,
        first_step=min(one.first_step, other.first_step),
        last_step=later.last_step,
        last_value=later.last_value,
        min=min((value for value in (one.min, other.min) if value is not None), default=None),
        max=max((value for value in (one.max, other.max) if value is not None), default=None),
    )
