"""Accepts frames, one writer job each, and hands them to the diagnosis in the order in which they were sent.

Accepting is idempotent by (run, attempt, rank, seq). Not for: checking values (server.ingest), reading series (series.py).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, insert, select, update

from server.domain.runs import Fact
from server.domain.series import Floats, Steps
from server.errors import FrameConflict, UnknownRun
from server.store import blocks, schema
from server.store.blocks import Values
from server.store.catalogue import Catalogue, CatalogueFull, digest
from server.store.engine import Database, upsert
from server.store.names import GroupNames
from server.store.progress import PROGRESS_COLUMNS, advance
from server.store.summary import Summary, summarise
from server.store.writer import Writer


@dataclass(frozen=True)
class AcceptedGroup:
    """Holds series that were measured at the same steps; values have the shape (columns, steps), f4 or f8."""

    columns: tuple[str, ...]
    steps: Steps
    times_ms: Steps
    values: Values

    def keep(self, admitted: frozenset[str]) -> AcceptedGroup | None:
        """Leaves out all columns but some; None if nothing is left."""
        positions = [index for index, name in enumerate(self.columns) if name in admitted]
        if not positions:
            return None
        return replace(self, columns=tuple(self.columns[i] for i in positions), values=self.values[positions])


@dataclass(frozen=True)
class AcceptedRecord:
    """Holds a fact, event or status; `text` is its value as JSON."""

    kind: str
    name: str
    step: int
    time_ms: int
    value: Any
    text: str


@dataclass(frozen=True)
class AcceptedFrame:
    """Holds a frame whose values were checked; `attempt` is the hook's own id of it."""

    run_id: str
    attempt: str
    rank: int
    seq: int
    crc: int
    complete: int
    received_ms: int
    groups: tuple[AcceptedGroup, ...] = ()
    records: tuple[AcceptedRecord, ...] = ()


@dataclass(frozen=True)
class FrameReceipt:
    """Says what became of a frame. `contiguous` is the highest seq without a gap before it (−1 for none); `dropped`
    counts columns that found no room; `findings_version` changes whenever the findings of the run do.
    """

    seq: int
    duplicate: bool
    contiguous: int
    attempt: int
    last_step: int
    findings_version: int
    state_changed: bool = False
    dropped: tuple[tuple[str, int], ...] = ()


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


@dataclass(frozen=True)
class _Prepared:
    """What can be worked out before the writer's turn: packed blocks and summaries."""

    group: AcceptedGroup
    seq: int
    dtype: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", blocks.dtype_of(self.group.values))

    @cached_property
    def block(self) -> bytes:
        return blocks.pack(self.group.steps, self.group.times_ms, self.group.values)

    @cached_property
    def summary(self) -> Summary:
        return summarise(self.group.steps, self.group.values, self.seq)

    @cached_property
    def digest(self) -> bytes:
        return digest(self.group.columns, self.dtype)


class Frames:
    """The repository of frames."""

    def __init__(self, database: Database, writer: Writer, catalogue: Catalogue) -> None:
        self._database = database
        self._writer = writer
        self._catalogue = catalogue
        self._names = GroupNames()

    def accept(self, batch: AcceptedFrame) -> FrameReceipt:
        """Stores a frame and all that it changes in one transaction, and returns after the commit.

        Raises UnknownRun (the hook opens the run and sends again) and FrameConflict.
        """
        dropped: dict[str, int] = defaultdict(int)
        while True:
            prepared = [_Prepared(group, batch.seq) for group in batch.groups]
            size = sum(len(item.block) + 64 * len(item.summary.count) + len(item.digest) for item in prepared)
            try:
                receipt = self._writer.run(lambda connection: self._store(connection, batch, prepared), size)  # noqa: B023
            except CatalogueFull as full:
                kept = [group if group.columns == () else group.keep(full.admitted) for group in batch.groups]
                before = sum(len(group.columns) for group in batch.groups)
                groups = tuple(group for group in kept if group is not None)
                dropped[str(full)] += before - sum(len(group.columns) for group in groups)
                batch = replace(batch, groups=groups)
                continue
            return replace(receipt, dropped=tuple(dropped.items())) if dropped else receipt

    def since(self, run_id: str, attempt: int, rank: int, after_seq: int, limit: int = 256) -> list[StoredFrame]:
        """Reads the frames after `after_seq` up to the first gap, in the order of seq."""
        where = {"b_run": run_id, "b_attempt": attempt, "b_rank": rank, "b_after": after_seq, "b_limit": limit}
        with self._database.read() as connection:
            found: dict[int, StoredFrame] = {}
            for seq, complete in connection.execute(_SINCE, where):
                if seq != after_seq + 1 + len(found):
                    break
                found[seq] = StoredFrame(seq, complete, [], [])
            if not found:
                return []
            where["b_last"] = after_seq + len(found)
            rows = connection.execute(_SINCE_BLOCKS, where).all()
            names = self._names.of(connection, run_id, {row.group for row in rows})
            for row in rows:
                columns, dtype = names[row.group]
                block = blocks.unpack(row.data, dtype, len(columns), row.samples)
                group = StoredGroup(columns, block.steps, block.times_ms, blocks.as_floats(block.values))
                found[row.seq].groups.append(group)
            for row in connection.execute(_SINCE_FACTS, where):
                found[row.seq].facts.append(Fact(row.name, row.step, json.loads(row.value), attempt))
        return list(found.values())

    def _store(self, connection: Connection, batch: AcceptedFrame, prepared: Sequence[_Prepared]) -> FrameReceipt:
        row = self._find(connection, batch)
        if row.crc is not None:
            if row.crc != batch.crc:
                raise FrameConflict(
                    f"Another frame was accepted as seq {batch.seq} of rank {batch.rank}, attempt {batch.attempt}: "
                    f"its CRC is {row.crc:#010x}, this one's {batch.crc:#010x}."
                )
            return FrameReceipt(batch.seq, True, row.contiguous, row.number, row.last_step, row.findings_version)
        identity = {"run_id": batch.run_id, "attempt": row.number, "rank": batch.rank, "seq": batch.seq}
        self._insert_values(connection, identity, prepared)
        self._insert_records(connection, identity, batch.records)
        connection.execute(
            insert(schema.frames),
            {**identity, "crc": batch.crc, "complete": batch.complete, "received_ms": batch.received_ms},
        )
        contiguous = self._advance_stream(connection, row, batch, identity)
        moved = advance(row, batch, [(item.group, item.summary) for item in prepared])
        connection.execute(
            update(schema.runs).where(schema.runs.c.id == bindparam("b_id")), {"b_id": batch.run_id, **moved.run}
        )
        if moved.attempt:
            connection.execute(
                update(schema.attempts).where(
                    schema.attempts.c.run_id == bindparam("b_run"), schema.attempts.c.number == bindparam("b_number")
                ),
                {"b_run": batch.run_id, "b_number": row.number, **moved.attempt},
            )
        return FrameReceipt(
            batch.seq, False, contiguous, row.number, moved.run["last_step"], row.findings_version, moved.state_changed
        )

    def _find(self, connection: Connection, batch: AcceptedFrame) -> Row[Any]:
        row: Any = connection.execute(
            _FIND,
            {"b_run": batch.run_id, "b_key": batch.attempt, "b_rank": batch.rank, "b_seq": batch.seq},
        ).one_or_none()
        if row is None:
            known = connection.execute(select(schema.runs.c.id).where(schema.runs.c.id == batch.run_id)).first()
            what = f"Attempt {batch.attempt} of run {batch.run_id}" if known else f"Run {batch.run_id}"
            raise UnknownRun(f"{what} is not known here; open it with POST /api/v1/runs, then send the frame again.")
        found: Row[Any] = row
        return found

    def _insert_values(self, connection: Connection, identity: dict[str, Any], prepared: Sequence[_Prepared]) -> None:
        run_id = identity["run_id"]
        rows: list[dict[str, Any]] = []
        summaries: dict[int, Summary] = {}
        for part, item in enumerate(prepared):
            number = self._catalogue.group(connection, run_id, item.group.columns, item.dtype, item.digest)
            rows.append(
                {
                    **identity,
                    "group": number,
                    "part": part,
                    "first_step": int(item.group.steps.min()),
                    "last_step": int(item.group.steps.max()),
                    "count": len(item.group.steps),
                    "data": item.block,
                }
            )
            summaries[number] = summaries[number].merge(item.summary) if number in summaries else item.summary
        if not rows:
            return
        connection.execute(insert(schema.blocks), rows)
        key = {name: identity[name] for name in ("run_id", "attempt", "rank")}
        for number, summary in summaries.items():
            old = connection.execute(
                _SUMMARY, {**{f"b_{name}": value for name, value in key.items()}, "b_group": number}
            )
            data = old.scalar_one_or_none()
            packed = (Summary.unpack(data).merge(summary) if data is not None else summary).pack()
            connection.execute(_PUT_SUMMARY, {**key, "group": number, "data": packed})

    def _insert_records(
        self, connection: Connection, identity: dict[str, Any], records: Sequence[AcceptedRecord]
    ) -> None:
        facts: list[dict[str, Any]] = []
        events: list[dict[str, Any]] = []
        for part, record in enumerate(records):
            row = {**identity, "part": part, "step": record.step, "value": record.text}
            if record.kind == "fact":
                facts.append({**row, "name": record.name})
            else:
                events.append({**row, "kind": record.name, "time_ms": record.time_ms})
        if facts:
            connection.execute(insert(schema.facts), facts)
        if events:
            connection.execute(insert(schema.events), events)

    def _advance_stream(
        self, connection: Connection, row: Row[Any], batch: AcceptedFrame, identity: dict[str, Any]
    ) -> int:
        contiguous: int = row.contiguous if row.contiguous is not None else -1
        highest = max(batch.seq, row.highest if row.highest is not None else -1)
        if batch.seq == contiguous + 1:
            contiguous = batch.seq
            if highest > contiguous:
                where = {"b_run": batch.run_id, "b_attempt": row.number, "b_rank": batch.rank}
                for (seq,) in connection.execute(_LATER, {**where, "b_after": contiguous}):
                    if seq != contiguous + 1:
                        break
                    contiguous = seq
        stream = {name: identity[name] for name in ("run_id", "attempt", "rank")}
        connection.execute(_PUT_STREAM, {**stream, "contiguous": contiguous, "highest": highest})
        return contiguous


_f, _b, _a, _s = schema.frames.c, schema.blocks.c, schema.attempts.c, schema.streams.c

_FIND = (
    select(
        *(schema.runs.c[name] for name in PROGRESS_COLUMNS),
        schema.runs.c.findings_version,
        _a.number,
        _a.state.label("attempt_state"),
        _a.last_step.label("attempt_last_step"),
        _f.crc,
        _s.contiguous,
        _s.highest,
    )
    .select_from(schema.runs)
    .join(schema.attempts, and_(_a.run_id == schema.runs.c.id, _a.key == bindparam("b_key")))
    .outerjoin(
        schema.frames,
        and_(
            _f.run_id == schema.runs.c.id,
            _f.attempt == _a.number,
            _f.rank == bindparam("b_rank"),
            _f.seq == bindparam("b_seq"),
        ),
    )
    .outerjoin(
        schema.streams,
        and_(_s.run_id == schema.runs.c.id, _s.attempt == _a.number, _s.rank == bindparam("b_rank")),
    )
    .where(schema.runs.c.id == bindparam("b_run"))
)


def _of_stream(columns: Any) -> Any:
    return and_(
        columns.run_id == bindparam("b_run"),
        columns.attempt == bindparam("b_attempt"),
        columns.rank == bindparam("b_rank"),
        columns.seq > bindparam("b_after"),
    )


_LATER = select(_f.seq).where(_of_stream(_f)).order_by(_f.seq)
_SINCE = select(_f.seq, _f.complete).where(_of_stream(_f)).order_by(_f.seq).limit(bindparam("b_limit"))
_SINCE_BLOCKS = (
    select(_b.seq, _b.group, _b["count"].label("samples"), _b.data)
    .where(_of_stream(_b), _b.seq <= bindparam("b_last"))
    .order_by(_b.seq, _b.part)
)
_SINCE_FACTS = (
    select(schema.facts.c.seq, schema.facts.c.name, schema.facts.c.step, schema.facts.c.value)
    .where(_of_stream(schema.facts.c), schema.facts.c.seq <= bindparam("b_last"))
    .order_by(schema.facts.c.seq, schema.facts.c.part)
)
_SUMMARY = select(schema.summaries.c.data).where(
    schema.summaries.c.run_id == bindparam("b_run_id"),
    schema.summaries.c.attempt == bindparam("b_attempt"),
    schema.summaries.c.rank == bindparam("b_rank"),
    schema.summaries.c.group == bindparam("b_group"),
)
_put_summary = upsert(schema.summaries)
_PUT_SUMMARY = _put_summary.on_conflict_do_update(
    index_elements=["run_id", "attempt", "rank", "group"], set_={"data": _put_summary.excluded.data}
)
_put_stream = upsert(schema.streams)
_PUT_STREAM = _put_stream.on_conflict_do_update(
    index_elements=["run_id", "attempt", "rank"],
    set_={"contiguous": _put_stream.excluded.contiguous, "highest": _put_stream.excluded.highest},
)
