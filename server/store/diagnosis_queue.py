"""Which runs wait for the diagnosis, which server process works on them, and which have fallen silent.

Not for: what a run is (runs.py) or when its silence is too long (server.diagnosis).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, or_, select, update

from server.domain.runs import RunState
from server.store import schema
from server.store.engine import Database
from server.store.sealing import Sealer
from server.store.telling import Telling
from server.store.writer import Writer

LEASE_MS = 15_000


class DiagnosisQueue:
    """The runs that the diagnosis has to look at, the one that waits longest first."""

    def __init__(self, database: Database, writer: Writer, sealer: Sealer, telling: Telling) -> None:
        self._telling = telling
        self._database = database
        self._writer = writer
        self._sealer = sealer

    def mark_silent(self, heard_before_ms: int, now_ms: int) -> list[str]:
        """Marks running runs that said nothing since then as silent, so that they are diagnosed; gives their ids."""
        runs = schema.runs.c
        living = runs.state.in_((RunState.RUNNING.value, RunState.STUCK.value))
        silent = self._mark(and_(living, runs.heard_ms < heard_before_ms), RunState.SILENT, now_ms)
        self._sealer.note_end(silent)
        return silent

    def at_work(self) -> list[tuple[str, tuple[int, int, int]]]:
        """Lists the running trainings, each with what changes whenever its loop says something."""
        runs = schema.runs.c
        wanted = select(runs.id, runs.latest_attempt, runs.last_step, runs.last_step_ms)
        with self._database.read() as connection:
            rows = connection.execute(wanted.where(runs.state == RunState.RUNNING.value, runs.attempts > 0)).all()
        return [(row.id, (row.latest_attempt, row.last_step, row.last_step_ms)) for row in rows]

    def mark_stuck(self, run_ids: Sequence[str], now_ms: int) -> list[str]:
        """Marks those of these runs that still run as stuck, so that they are diagnosed; gives their ids."""
        runs = schema.runs.c
        return self._mark(and_(runs.state == RunState.RUNNING.value, runs.id.in_(run_ids)), RunState.STUCK, now_ms)

    def _mark(self, quiet: ColumnElement[bool], state: RunState, now_ms: int) -> list[str]:
        runs = schema.runs.c
        with self._database.read() as connection:
            if connection.execute(select(runs.id).where(quiet).limit(1)).first() is None:
                return []

        def mark(connection: Connection) -> list[str]:
            found = list(connection.execute(select(runs.id).where(quiet)).scalars())
            values = {"state": state.value, "dirty": 1, "dirty_ms": now_ms, "version": runs.version + 1}
            connection.execute(update(schema.runs).where(quiet).values(**values))
            for run_id in found:
                self._telling.state(connection, run_id, state.value)
            return found

        return self._writer.run(mark)

    def claim(self, owner: str, now_ms: int, limit: int = 100) -> list[str]:
        """Lists the runs that wait for the diagnosis and that no other process works on; keeps them for `owner`.

        A lease is renewed by each claim and runs out by itself when its owner dies.
        """
        if not self._database.shared:
            return self.dirty(limit)
        runs = schema.runs.c
        free = or_(runs.lease_owner == owner, runs.lease_until_ms < now_ms)
        waiting = (
            select(runs.id)
            .where(runs.dirty == 1, free)
            .order_by(runs.dirty_ms)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        take = (
            update(schema.runs)
            .where(runs.id.in_(waiting.scalar_subquery()))
            .values(lease_owner=owner, lease_until_ms=now_ms + LEASE_MS)
            .returning(runs.id, runs.dirty_ms)
        )
        with self._database.read() as connection:
            if connection.execute(select(runs.id).where(runs.dirty == 1, free).limit(1)).first() is None:
                return []
        taken = self._writer.run(lambda connection: connection.execute(take).all())
        return [row.id for row in sorted(taken, key=lambda row: row.dirty_ms)]

    def release(self, owner: str) -> None:
        """Gives back what an owner holds, because it stops."""
        if self._database.shared:
            give = update(schema.runs).where(schema.runs.c.lease_owner == owner).values(lease_until_ms=0)
            self._writer.run(lambda connection: connection.execute(give).rowcount)

    def dirty(self, limit: int = 100) -> list[str]:
        """Lists the runs that wait for the diagnosis, the one that waits longest first."""
        runs = schema.runs.c
        with self._database.read() as connection:
            waiting = select(runs.id).where(runs.dirty == 1).order_by(runs.dirty_ms).limit(limit)
            return list(connection.execute(waiting).scalars())
