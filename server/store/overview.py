"""Reads series as a chart can draw them: buckets of a line, cells of a heatmap, at whatever length the same cost.

Where a bucket covers whole seals, their outlines (or ladders) say all that is drawn; where it does not, and wherever a
value is no number, the samples themselves are read. Not for: exports (series.py) or drawing (server.charts).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from sqlalchemy import Connection, func, select

from server import downsample, smoothing
from server.domain.series import Floats
from server.downsample import Buckets, Cut, Spans
from server.store import blocks, samples, schema, seals
from server.store.engine import Database
from server.store.names import GroupNames, Members
from server.store.series import attempts_of, ordered

Entries = list[tuple[str, int]]


class Overview:
    """The repository of what charts draw as lines."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._names = GroupNames()

    def buckets(
        self,
        run_id: str,
        names: Sequence[str],
        *,
        points: int,
        attempt: int | str = "latest",
        rank: int = 0,
        start: int | None = None,
        stop: int | None = None,
        half_life: float | None = None,
        factors: bool = False,
    ) -> list[Cut]:
        """Cuts series with start ≤ step ≤ stop into at most `points` // 2 buckets each, in the order of `names`, then
        of attempts.

        `half_life` in steps asks for the smoothed curve too: over all samples, those before `start` included, or over
        their logarithms (`factors`). Raises
        ValueError for fewer than two points or a half-life that is not positive. Series without a sample are left out.
        """
        wanted = list(dict.fromkeys(names))
        if not wanted:
            return []
        first, last = samples.within(start, stop)
        with self._database.read() as connection:
            numbers = attempts_of(connection, run_id, attempt)
            where = samples.Where(run_id, numbers, rank, first, last)
            places = samples.places(connection, run_id, wanted)
            members = self._names.of(connection, run_id, set(places))
            if half_life is not None:
                return self._smoothed(connection, where, places, members, wanted, points, half_life, factors)
            long = _long(connection, where, places, points)
            found = {}
            if long:
                found = _summarised(connection, where, {group: places[group] for group in long}, members, points)
            rest = _without(places, found)
            parts = samples.gather(connection, where, rest, members)
        for (name, number), of_series in parts.items():
            data = ordered(name, number, rank, of_series, first, last)
            if len(data.steps):
                found[name, number] = downsample.buckets(data.steps, data.times_ms, data.values, points)
        return [
            Cut(name, number, rank, found[name, number])
            for name in wanted
            for number in sorted(numbers)
            if (name, number) in found
        ]

    def _smoothed(
        self,
        connection: Connection,
        where: samples.Where,
        places: dict[int, Entries],
        members: dict[int, Members],
        wanted: Sequence[str],
        points: int,
        half_life: float,
        factors: bool,
    ) -> list[Cut]:
        average = smoothing.smooth_factors if factors else smoothing.smooth
        memory = int(min(half_life * smoothing.HALF_LIVES_REMEMBERED, samples.FAR)) + 1
        early = max(where.first - memory, -samples.FAR)
        earlier = samples.Where(where.run_id, where.attempts, where.rank, early, where.last)
        parts = samples.gather(connection, earlier, places, members)
        found: list[Cut] = []
        for name in wanted:
            for number in sorted(where.attempts):
                if (name, number) not in parts:
                    continue
                data = ordered(name, number, where.rank, parts[name, number], early, where.last)
                begin = int(np.searchsorted(data.steps, where.first, "left"))
                if begin == len(data.steps):
                    continue
                curve = average(data.steps, data.values, half_life)[begin:]
                cut = downsample.buckets(data.steps[begin:], data.times_ms[begin:], data.values[begin:], points)
                starts = downsample.edges(len(curve), points)
                found.append(Cut(name, number, where.rank, cut, downsample.last_finite(curve, starts)))
        return found


def _long(connection: Connection, where: samples.Where, places: dict[int, Entries], points: int) -> list[int]:
    """Names the groups of series that have enough seals for their outlines to suffice.

    A series may lie in several groups: then all of them are named, or none.
    """
    if points < 2:
        raise ValueError(f"points is {points}; at least 2 are needed, a bucket draws two")
    counts: dict[int, int] = {}
    for group in places:
        counts[group] = connection.execute(
            select(func.count()).select_from(schema.seals).where(*where.of(schema.seals, group))
        ).scalar_one()
    of_series: dict[str, list[int]] = defaultdict(list)
    for group, entries in places.items():
        for name, _ in entries:
            of_series[name].append(group)
    # half as many seals as buckets: below that a line would be coarser than the screen
    enough = max(1, points // 4) * max(1, len(where.attempts))
    long = {name for name, groups in of_series.items() if sum(counts[group] for group in groups) >= enough}
    return [group for group, entries in places.items() if any(name in long for name, _ in entries)]


def _summarised(
    connection: Connection,
    where: samples.Where,
    places: dict[int, Entries],
    members: dict[int, Members],
    points: int,
) -> dict[samples.Key, Buckets]:
    spans: dict[samples.Key, list[Spans]] = defaultdict(list)
    for group, entries in places.items():
        columns, dtype = members[group]
        for key, part in samples.open_parts(connection, where, group, entries, len(columns), dtype):
            _add_samples(spans, key, part, where)
        _add_outlines(spans, connection, where, group, entries, dtype)
    found: dict[samples.Key, Buckets] = {}
    for key, parts in spans.items():
        whole = Spans.joined(parts)
        if whole is not None and len(whole.count):
            found[key] = downsample.merge(whole, points)
    return found


def _add_outlines(
    spans: dict[samples.Key, list[Spans]],
    connection: Connection,
    where: samples.Where,
    group: int,
    entries: Entries,
    dtype: str,
) -> None:
    seal = schema.seals.c
    low, high = min(position for _, position in entries), max(position for _, position in entries)
    kind = seals.outline_dtype(dtype)
    rows = connection.execute(
        select(
            seal.attempt, seal.number, seal.first_step, seal.last_step, seal.first_ms, seal["count"],
            func.substr(seal.outline, 1 + kind.itemsize * low, kind.itemsize * (high - low + 1)),
        )
        .where(*where.of(schema.seals, group))
        .order_by(seal.attempt, seal.number)
    ).all()  # fmt: skip
    if not rows:
        return
    attempt, number, first, last, times, count = (
        np.array(column, np.int64) for column in zip(*(row[:6] for row in rows), strict=True)
    )
    outlines = np.frombuffer(b"".join(row[6] for row in rows), kind).reshape(len(rows), high - low + 1)
    inside = (first >= where.first) & (last <= where.last)
    for name, position in entries:
        entry = outlines[:, position - low]
        bad = np.stack([entry[kind_of_bad] for kind_of_bad in downsample.KINDS]).astype(np.int64)
        # a seal whose values are all of one kind is told by its outline; a mixed one is not
        whole = inside & ((bad.sum(axis=0) == 0) | (bad.max(axis=0) == count))
        for one in np.unique(attempt[whole]).tolist():
            these = whole & (attempt == one)
            spans[name, one].append(
                Spans(
                    first_step=first[these],
                    last_step=last[these],
                    times_ms=times[these],
                    count=count[these],
                    nonfinite=bad[:, these],
                    **{field: entry[field][these].astype(np.float64) for field in ("min", "max", "first", "last")},
                )
            )
        mixed = {(a, n) for a, n in zip(attempt[~whole].tolist(), number[~whole].tolist(), strict=True)}
        if mixed:
            sealed = [
                row
                for row in samples.sealed_rows(connection, where, group, [position], seal.axis)
                if (row.attempt, row.number) in mixed
            ]
            for key, part in samples.sealed_parts(connection, where.run_id, sealed, [(name, position)], dtype):
                _add_samples(spans, key, part, where)


def _add_samples(
    spans: dict[samples.Key, list[Spans]], key: samples.Key, part: samples.Part, where: samples.Where
) -> None:
    inside = (part.steps >= where.first) & (part.steps <= where.last)
    if inside.any():
        values: Floats = blocks.as_floats(part.values[inside])
        spans[key].append(Spans.of_samples(part.steps[inside], part.times_ms[inside], values))


def _without(places: dict[int, Entries], found: Iterable[samples.Key]) -> dict[int, Entries]:
    """Leaves out the series that are cut already."""
    done = {name for name, _ in found}
    rest = {
        group: [(name, position) for name, position in entries if name not in done] for group, entries in places.items()
    }
    return {group: entries for group, entries in rest.items() if entries}
