"""Reads series: which ones a run has, and their samples, ordered by step, then by arrival.

Not for: where samples lie (samples.py) or what a chart can draw of them (overview.py).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
from sqlalchemy import Connection, func, select

from server.domain.series import SeriesData, SeriesInfo
from server.store import blocks, samples, schema
from server.store.engine import Database
from server.store.names import GroupNames
from server.store.summary import Summary

SEALS_A_WINDOW = 64


class SeriesReader:
    """The repository of series."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._names = GroupNames()

    def names(
        self,
        run_id: str,
        attempt: int | str = "latest",
        only: Collection[str] | None = None,
        rank: int | None = None,
    ) -> list[SeriesInfo]:
        """Lists the series of an attempt, or `only` those, in the order in which they were first seen: all ranks
        together, but for what `rank` itself has sent.
        """
        summaries = schema.summaries.c
        found: dict[str, SeriesInfo] = {}
        with self._database.read() as connection:
            (number,) = attempts_of(connection, run_id, attempt)
            rows = connection.execute(
                select(summaries.group, summaries.rank, summaries.data)
                .where(summaries.run_id == run_id, summaries.attempt == number)
                .order_by(summaries.group, summaries.rank)
            ).all()
            members = self._names.of(connection, run_id, {row.group for row in rows})
        own: dict[str, SeriesInfo] = {}
        for row in rows:
            summary = Summary.unpack(row.data)
            for index, name in enumerate(members[row.group][0]):
                if only is not None and name not in only:
                    continue
                info = _info(name, summary, index)
                found[name] = _joined(found[name], info) if name in found else info
                if row.rank == rank:
                    own[name] = _joined(own[name], info) if name in own else info
        return [own.get(name, info) for name, info in found.items()]

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
        first, last = samples.within(start, stop)
        with self._database.read() as connection:
            numbers = attempts_of(connection, run_id, attempt)
            places = samples.places(connection, run_id, wanted)
            members = self._names.of(connection, run_id, set(places))
            parts = samples.gather(connection, samples.Where(run_id, numbers, rank, first, last), places, members)
        found = [
            ordered(name, number, rank, parts[name, number], first, last)
            for name in wanted
            for number in sorted(numbers)
            if (name, number) in parts
        ]
        return [data for data in found if len(data.steps)]

    def windows(
        self, run_id: str, names: Sequence[str], *, attempt: int | str = "latest", rank: int = 0
    ) -> list[tuple[int, int]]:
        """Cuts the steps of series into windows of a bounded number of samples each, to be read one after another."""
        with self._database.read() as connection:
            numbers = attempts_of(connection, run_id, attempt)
            groups = set(samples.places(connection, run_id, names))
            seal = schema.seals.c
            rows = connection.execute(
                select(seal.first_step)
                .where(
                    seal.run_id == run_id,
                    seal.group.in_(groups),
                    seal.attempt.in_(numbers),
                    seal.rank == rank,
                )
                .order_by(seal.first_step)
            ).scalars()
            edges = sorted(set(list(rows)[SEALS_A_WINDOW::SEALS_A_WINDOW]))
        firsts = [-samples.FAR, *edges]
        return list(zip(firsts, [*(edge - 1 for edge in edges), samples.FAR], strict=True))


def attempts_of(connection: Connection, run_id: str, attempt: int | str) -> list[int]:
    if isinstance(attempt, int):
        return [attempt]
    if attempt == "all":
        attempts = schema.attempts.c
        return list(connection.execute(select(attempts.number).where(attempts.run_id == run_id)).scalars())
    latest = select(func.max(schema.runs.c.latest_attempt)).where(schema.runs.c.id == run_id)
    return [connection.execute(latest).scalar_one() or 0]


def ordered(name: str, attempt: int, rank: int, parts: Sequence[samples.Part], first: int, last: int) -> SeriesData:
    """Joins parts and orders their samples by step, those of the same step by arrival; cuts what is outside."""
    steps = np.concatenate([part.steps for part in parts])
    times = np.concatenate([part.times_ms for part in parts])
    values = np.concatenate([blocks.as_floats(part.values) for part in parts])
    if len(steps) > 1 and bool((steps[1:] <= steps[:-1]).any()):
        order = np.lexsort((np.concatenate([part.seqs for part in parts]), steps))
        steps, times, values = steps[order], times[order], values[order]
    begin = int(np.searchsorted(steps, first, "left"))
    end = int(np.searchsorted(steps, last, "right"))
    return SeriesData(name, attempt, rank, steps[begin:end], times[begin:end], values[begin:end])


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
