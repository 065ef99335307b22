"""Reads the facts and events of a run. Not for: writing them; they come with frames (frames.py)."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import and_, func, select

from server.domain.runs import Event
from server.store import schema
from server.store.engine import Database


class Records:
    """The repository of facts and events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def facts(self, run_id: str, attempt: int | str = "latest") -> dict[str, Any]:
        """Gives the newest value of each fact that rank 0 of an attempt has sent."""
        facts = schema.facts.c
        latest = select(func.max(schema.runs.c.latest_attempt)).where(schema.runs.c.id == run_id).scalar_subquery()
        with self._database.read() as connection:
            rows = connection.execute(
                select(facts.name, facts.value)
                .where(
                    facts.run_id == run_id,
                    facts.attempt == (latest if isinstance(attempt, str) else attempt),
                    facts.rank == 0,
                )
                .order_by(facts.step, facts.seq, facts.part)
            ).all()
        newest = {row.name: row.value for row in rows}
        return {name: json.loads(value) for name, value in newest.items()}

    def newest_fact(self, run_id: str, name: str) -> Any:
        """Gives the newest value of a fact from any attempt, the one that began last; None where there is none."""
        facts, attempts = schema.facts.c, schema.attempts.c
        began = and_(attempts.run_id == facts.run_id, attempts.number == facts.attempt)
        with self._database.read() as connection:
            value = connection.execute(
                select(facts.value)
                .join_from(schema.facts, schema.attempts, began)
                .where(facts.run_id == run_id, facts.name == name, facts.rank == 0)
                .order_by(
                    attempts.started_ms.desc(),
                    facts.attempt.desc(),
                    facts.step.desc(),
                    facts.seq.desc(),
                    facts.part.desc(),
                )
                .limit(1)
            ).scalar()
        return None if value is None else json.loads(value)

    def events(self, run_id: str, *, kind: str | None = None, but: str | None = None, limit: int = 1000) -> list[Event]:
        """Gives the newest events of a run, all attempts and ranks together, oldest first; `kind` keeps one kind, `but`
        leaves one out."""
        events = schema.events.c
        asked = [] if kind is None else [events.kind == kind]
        with self._database.read() as connection:
            rows = connection.execute(
                select(schema.events)
                .where(events.run_id == run_id, *asked, *([] if but is None else [events.kind != but]))
                .order_by(events.time_ms.desc(), events.seq.desc(), events.part.desc())
                .limit(limit)
            ).all()
        return [Event(row.kind, row.step, row.time_ms, json.loads(row.value), row.attempt) for row in reversed(rows)]

    def moments(self, run_id: str, kind: str, limit: int = 10_000) -> list[Event]:
        """Gives when the newest events of a kind came, oldest first, without their values."""
        events = schema.events.c
        with self._database.read() as connection:
            rows = connection.execute(
                select(events.step, events.time_ms, events.attempt)
                .where(events.run_id == run_id, events.kind == kind)
                .order_by(events.time_ms.desc(), events.seq.desc(), events.part.desc())
                .limit(limit)
            ).all()
        return [Event(kind, row.step, row.time_ms, {}, row.attempt) for row in reversed(rows)]

    def value_of(self, run_id: str, moment: Event) -> Any:
        """Gives the value of an event that `moments` named; None where it is gone."""
        events = schema.events.c
        with self._database.read() as connection:
            value = connection.execute(
                select(events.value)
                .where(
                    events.run_id == run_id,
                    events.time_ms == moment.time_ms,
                    events.kind == moment.kind,
                    events.step == moment.step,
                    events.attempt == moment.attempt,
                )
                .order_by(events.seq.desc(), events.part.desc())
                .limit(1)
            ).scalar()
        return None if value is None else json.loads(value)
