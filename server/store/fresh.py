"""Reads the newest frames of many runs at once, for a round of the diagnosis: three statements instead of six a run.

Only what nearly all turns want: a few whole frames that nothing was sealed of. Where a run has something else, the
diagnosis reads it by itself (replay.py).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Select, and_, bindparam, case, func, literal_column, select, union_all

from server.domain.runs import Fact
from server.store import blocks, schema
from server.store.engine import Database
from server.store.names import GroupNames
from server.store.replay import StoredFrame, StoredGroup

FRAMES_AHEAD = 4  # of a run: who sends faster than the diagnosis looks is read by itself
RUNS_TOGETHER = (4, 16)
LARGEST_BLOCK = 65_536  # bytes: many large ones at once would fill the memory


@dataclass(frozen=True)
class Place:
    """Says how far the frames of a run were read."""

    run_id: str
    attempt: int
    after_seq: int


class Fresh:
    """Looks for new frames of rank 0."""

    def __init__(self, database: Database, names: GroupNames) -> None:
        self._database = database
        self._names = names

    def frames(self, places: Sequence[Place]) -> dict[str, list[StoredFrame]]:
        """Gives the next frames of these runs, at most FRAMES_AHEAD of each, in the order of seq. A run of which this
        cannot say whether they are all is left out."""
        found: dict[str, list[StoredFrame]] = {}
        most = RUNS_TOGETHER[-1]
        for start in range(0, len(places), most):
            found |= self._frames(places[start : start + most])
        return found

    def _frames(self, places: Sequence[Place]) -> dict[str, list[StoredFrame]]:
        where = _where(places)
        size = len(where) // 4
        rows: dict[str, list[Any]] = defaultdict(list)
        facts: dict[tuple[str, int], list[Fact]] = defaultdict(list)
        with self._database.read() as connection:
            for row in connection.execute(_together(_new_blocks, size), where):
                rows[row.run_id].append(row)
            if not rows:
                return {}
            sealed = set(connection.execute(_together(_sealed, size), where).scalars())
            told = connection.execute(_together(_new_facts, size), where).all()
            for row in sorted(told, key=lambda row: row.part):
                facts[row.run_id, row.seq].append(Fact(row.name, row.step, json.loads(row.value), row.attempt))
        found = {}
        for place in places:
            if place.run_id in rows and place.run_id not in sealed:
                frames = self._made(place, rows[place.run_id], facts)
                if frames is not None:
                    found[place.run_id] = frames
        return found

    def _made(
        self, place: Place, rows: list[Any], facts: dict[tuple[str, int], list[Fact]]
    ) -> list[StoredFrame] | None:
        found: dict[int, StoredFrame] = {}
        for row in sorted(rows, key=lambda row: (row.seq, row.part or 0)):
            frame = found.get(row.seq)
            if frame is None:
                if row.seq != place.after_seq + 1 + len(found):
                    break  # what follows a gap has to wait
                frame = found[row.seq] = StoredFrame(row.seq, row.complete, [], facts.get((place.run_id, row.seq), []))
            if row.part is None:
                continue  # a frame of facts alone
            known = self._names.known(row.digest)
            if known is None or row.data is None:
                return None
            columns, dtype = known
            block = blocks.unpack(row.data, dtype, len(columns), row.samples)
            frame.groups.append(StoredGroup(columns, block.steps, block.times_ms, blocks.as_floats(block.values)))
        return list(found.values()) or None


def _where(places: Sequence[Place]) -> dict[str, Any]:
    size = next(size for size in RUNS_TOGETHER if size >= len(places))
    where: dict[str, Any] = {}
    for number in range(size):
        place = places[number] if number < len(places) else Place("", 0, 0)  # no run has no name
        where[f"b_run_{number}"] = place.run_id
        where[f"b_attempt_{number}"] = place.attempt
        where[f"b_after_{number}"] = place.after_seq
        where[f"b_last_{number}"] = place.after_seq + FRAMES_AHEAD
    return where


def _of_place(table: Any, number: int) -> Any:
    return and_(
        table.c.run_id == bindparam(f"b_run_{number}"),
        table.c.attempt == bindparam(f"b_attempt_{number}"),
        table.c.rank == literal_column("0"),
    )


def _between(table: Any, number: int) -> Any:
    return and_(table.c.seq > bindparam(f"b_after_{number}"), table.c.seq <= bindparam(f"b_last_{number}"))


def _new_blocks(number: int) -> Select[Any]:
    frame, block, group = schema.frames, schema.blocks, schema.groups
    of_frame = and_(*(block.c[name] == frame.c[name] for name in ("run_id", "attempt", "rank", "seq")))
    return (
        select(
            frame.c.run_id,
            frame.c.seq,
            frame.c.complete,
            block.c.part,
            block.c["count"].label("samples"),
            group.c.digest,
            case((func.length(block.c.data) <= LARGEST_BLOCK, block.c.data)).label("data"),
        )
        .select_from(frame)
        .outerjoin(block, of_frame)
        .outerjoin(group, and_(group.c.run_id == block.c.run_id, group.c.number == block.c.group))
        .where(_of_place(frame, number), _between(frame, number))
    )


def _new_facts(number: int) -> Select[Any]:
    fact = schema.facts
    return select(fact.c.run_id, fact.c.attempt, fact.c.seq, fact.c.part, fact.c.name, fact.c.step, fact.c.value).where(
        _of_place(fact, number), _between(fact, number)
    )


def _sealed(number: int) -> Select[Any]:
    seal = schema.seals
    return select(seal.c.run_id).where(
        _of_place(seal, number),
        seal.c.last_seq > bindparam(f"b_after_{number}"),
        seal.c.first_seq <= bindparam(f"b_last_{number}"),
    )


@cache
def _together(one: Callable[[int], Select[Any]], size: int) -> Any:
    """Asks for so many places in one statement; made once, because making it takes longer than running it."""
    return union_all(*(one(number) for number in range(size)))
