"""Accepts frames, one writer job each, and hands them to the diagnosis in the order in which they were sent.

Accepting is idempotent by (run, attempt, rank, seq). Not for: checking values (server.ingest) or reading frames back
for the diagnosis (replay.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from server.domain.runs import ENDED
from server.errors import FrameConflict, UnknownRun
from server.store import blocks, frame_packs, schema, statements
from server.store.accepted import AcceptedFrame, AcceptedGroup, AcceptedRecord
from server.store.ahead import Ahead, Coming
from server.store.catalogue import Catalogue, CatalogueFull, digest
from server.store.engine import Database
from server.store.fresh import Fresh, Place
from server.store.names import GroupNames
from server.store.progress import advance
from server.store.replay import Replay, StoredFrame
from server.store.sealing import Sealer
from server.store.summary import Summary, summarise
from server.store.telling import Telling
from server.store.writer import Writer


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
    ended: bool = False
    dropped: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class _Prepared:
    """What can be worked out before the writer's turn: packed blocks and summaries."""

    group: AcceptedGroup
    seq: int
    dtype: str
    block: bytes
    summary: Summary
    digest: bytes

    @classmethod
    def of(cls, group: AcceptedGroup, seq: int) -> _Prepared:
        """Works it out."""
        dtype = blocks.dtype_of(group.values)
        block = blocks.pack(group.steps, group.times_ms, group.values)
        return cls(group, seq, dtype, block, summarise(group.steps, group.values, seq), digest(group.columns, dtype))


class Frames:
    """The repository of frames."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        catalogue: Catalogue,
        ahead: Ahead,
        sealer: Sealer,
        telling: Telling,
    ) -> None:
        self._telling = telling
        self._writer = writer
        self._catalogue = catalogue
        self._ahead = ahead
        self._sealer = sealer
        names = GroupNames()
        self._replay = Replay(database, names)
        self._fresh = Fresh(database, names)
        self.taken = 0  # frames that were put in line so far, roughly: a measure of how busy ingest is

    def accept(self, batch: AcceptedFrame) -> FrameReceipt:
        """Stores a frame and all that it changes in one transaction, and returns after the commit.

        Raises UnknownRun (the hook opens the run and sends again) and FrameConflict.
        """
        return self.submit(batch).result()

    def submit(self, batch: AcceptedFrame) -> Future[FrameReceipt]:
        """Puts a frame in line for the next transaction; the receipt comes after its commit, or what `accept` raises.

        Raises Busy where too much waits.
        """
        self.taken += 1
        prepared = [_Prepared.of(group, batch.seq) for group in batch.groups]
        size = sum(len(item.block) + 64 * len(item.summary.count) + len(item.digest) for item in prepared)

        def note(stored: tuple[FrameReceipt, list[tuple[int, int]]]) -> FrameReceipt:
            receipt, added = stored
            if not receipt.duplicate:
                self._sealer.note(batch.run_id, receipt.attempt, batch.rank, added, ended=receipt.ended)
            return receipt

        return self._writer.submit(
            lambda connection: self._store(connection, batch, prepared),
            note,
            size=size,
            ahead=self._ahead.look,
            item=Coming(batch, [item.digest for item in prepared]),
        )

    def since(
        self, run_id: str, attempt: int, rank: int, after_seq: int, limit: int = 256, *, past_gap: bool = False
    ) -> list[StoredFrame]:
        """Reads the frames after `after_seq` up to the first gap, in the order of seq; `past_gap` begins with the next
        frame that there is.
        """
        return self._replay.since(run_id, attempt, rank, after_seq, limit, past_gap=past_gap)

    def fresh(self, places: Sequence[Place]) -> dict[str, list[StoredFrame]]:
        """Reads the next frames of rank 0 of many runs at once, at most FRAMES_AHEAD of each; runs of which it cannot
        say what is next are left out."""
        return self._fresh.frames(places)

    def newest(self, run_id: str, attempt: int, rank: int) -> int:
        """Gives the highest seq of a stream; −1 where there is none."""
        return self._replay.newest(run_id, attempt, rank)

    def ranks(self, run_id: str, attempt: int) -> list[int]:
        """Lists the ranks that sent values in an attempt, in order."""
        return self._replay.ranks(run_id, attempt)

    def _store(
        self, connection: Connection, batch: AcceptedFrame, prepared: Sequence[_Prepared]
    ) -> tuple[FrameReceipt, list[tuple[int, int]]]:
        later = self._writer.later
        row = self._find(connection, batch)
        crc = row.crc
        if crc is None and row.contiguous is not None and batch.seq <= row.contiguous:
            crc = frame_packs.crc_of(connection, batch.run_id, row.number, batch.rank, batch.seq)
        if crc is not None:
            if crc != batch.crc:
                raise FrameConflict(
                    f"Another frame was accepted as seq {batch.seq} of rank {batch.rank}, attempt {batch.attempt}: "
                    f"its CRC is {crc:#010x}, this one's {batch.crc:#010x}."
                )
            return FrameReceipt(batch.seq, True, row.contiguous, row.number, row.last_step, row.findings_version), []
        identity = {"run_id": batch.run_id, "attempt": row.number, "rank": batch.rank, "seq": batch.seq}
        dropped: dict[str, int] = defaultdict(int)
        admitted = self._admit(connection, batch.run_id, prepared, dropped)
        self._insert_values(connection, identity, admitted)
        self._insert_records(identity, batch.records)
        told = {"crc": batch.crc, "complete": batch.complete, "received_ms": batch.received_ms}
        later.add(batch.run_id, statements.INSERT_FRAME, {**identity, **told})
        contiguous = self._advance_stream(connection, row, batch, identity)
        moved = advance(row, batch, [(item.group, item.summary) for item, _ in admitted])
        later.add(batch.run_id, statements.UPDATE_RUN, {"b_id": batch.run_id, **moved.run})
        if moved.attempt:
            where = {"b_run": batch.run_id, "b_number": row.number}
            later.add(batch.run_id, statements.UPDATE_ATTEMPT, {**where, **moved.attempt})
        if moved.state_changed:
            self._telling.state(connection, batch.run_id, moved.run["state"], row.number)
        receipt = FrameReceipt(
            batch.seq,
            False,
            contiguous,
            row.number,
            moved.run["last_step"],
            row.findings_version,
            moved.state_changed,
            moved.run["state"] in ENDED,
            tuple(dropped.items()),
        )
        return receipt, [(number, len(item.group.steps)) for item, number in admitted]

    def _find(self, connection: Connection, batch: AcceptedFrame) -> Row[Any]:
        known = self._ahead.take(batch)
        if known is not None:
            return known
        self._writer.later.settle(connection, batch.run_id)
        row: Any = connection.execute(
            statements.FIND,
            {"b_run": batch.run_id, "b_key": batch.attempt, "b_rank": batch.rank, "b_seq": batch.seq},
        ).one_or_none()
        if row is None:
            known = connection.execute(select(schema.runs.c.id).where(schema.runs.c.id == batch.run_id)).first()
            raise not_open(f"Attempt {batch.attempt} of run {batch.run_id}" if known else f"Run {batch.run_id}")
        found: Row[Any] = row
        return found

    def _admit(
        self, connection: Connection, run_id: str, prepared: Sequence[_Prepared], dropped: dict[str, int]
    ) -> list[tuple[_Prepared, int]]:
        """Gives the groups with their numbers; columns for which the run has no room left are dropped and counted."""
        admitted: list[tuple[_Prepared, int]] = []
        for item in prepared:
            left: _Prepared | None = item
            while left is not None:
                group = left.group
                try:
                    number = self._catalogue.group(
                        connection, self._writer.later, run_id, group.columns, left.dtype, left.digest
                    )
                except CatalogueFull as full:
                    kept = group.keep(full.admitted)
                    dropped[str(full)] += len(group.columns) - (0 if kept is None else len(kept.columns))
                    left = None if kept is None else _Prepared.of(kept, left.seq)
                else:
                    admitted.append((left, number))
                    break
        return admitted

    def _insert_values(
        self, connection: Connection, identity: dict[str, Any], admitted: Sequence[tuple[_Prepared, int]]
    ) -> None:
        rows: list[dict[str, Any]] = []
        summaries: dict[int, Summary] = {}
        for part, (item, number) in enumerate(admitted):
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
        later = self._writer.later
        later.add(identity["run_id"], statements.INSERT_BLOCKS, *rows)
        key = {name: identity[name] for name in ("run_id", "attempt", "rank")}
        for number, summary in summaries.items():
            was_read, data = self._ahead.summary((*key.values(), number))
            if not was_read and not self._catalogue.take_new(key["run_id"], number):
                where = {**{f"b_{name}": value for name, value in key.items()}, "b_group": number}
                data = connection.execute(statements.SUMMARY, where).scalar_one_or_none()
            packed = (Summary.unpack(data).merge(summary) if data is not None else summary).pack()
            later.add(key["run_id"], statements.PUT_SUMMARY, {**key, "group": number, "data": packed})

    def _insert_records(self, identity: dict[str, Any], records: Sequence[AcceptedRecord]) -> None:
        facts: list[dict[str, Any]] = []
        events: list[dict[str, Any]] = []
        for part, record in enumerate(records):
            row = {**identity, "part": part, "step": record.step, "value": record.text}
            if record.kind == "fact":
                facts.append({**row, "name": record.name})
            else:
                events.append({**row, "kind": record.name, "time_ms": record.time_ms})
        self._writer.later.add(identity["run_id"], statements.INSERT_FACTS, *facts)
        self._writer.later.add(identity["run_id"], statements.INSERT_EVENTS, *events)

    def _advance_stream(
        self, connection: Connection, row: Row[Any], batch: AcceptedFrame, identity: dict[str, Any]
    ) -> int:
        contiguous: int = row.contiguous if row.contiguous is not None else -1
        highest = max(batch.seq, row.highest if row.highest is not None else -1)
        if batch.seq == contiguous + 1:
            contiguous = batch.seq
            if highest > contiguous:
                where = {"b_run": batch.run_id, "b_attempt": row.number, "b_rank": batch.rank}
                for (seq,) in connection.execute(statements.LATER, {**where, "b_after": contiguous}):
                    if seq != contiguous + 1:
                        break
                    contiguous = seq
        stream = {name: identity[name] for name in ("run_id", "attempt", "rank")}
        told = {**stream, "contiguous": contiguous, "highest": highest}
        self._writer.later.add(batch.run_id, statements.PUT_STREAM, told)
        return contiguous


def not_open(what: str) -> UnknownRun:
    """Says that a frame comes for a run, or an attempt of one, that is not open here."""
    return UnknownRun(f"{what} is not known here; open it with POST /api/v1/runs, then send the frame again.")
