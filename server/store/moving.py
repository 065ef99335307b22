"""Copies runs from one database to another, row by row: points, facts, findings and what people said of them.

A run's rows carry its id and nothing else of their database, so they fit into any other; its project is found by name.
Not for: whole databases (engine.files, engine.dumps) or thresholds of projects, which belong to the server.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Table, insert, select
from sqlalchemy.exc import DBAPIError

from server.store import schema
from server.store.engine import Database

ROWS_A_STEP = 200
_UNCLAIMED = {"lease_owner": "", "lease_until_ms": 0}  # no worker of another server holds it
# what has an `id` of its own, or says that a run is being deleted, is no part of a run
_APART = (schema.runs, schema.mutes, schema.graves)
_OF_A_RUN = tuple(table for table in schema.metadata.sorted_tables if "run_id" in table.c and table not in _APART)


@dataclass(frozen=True)
class Known:
    """A run of a database."""

    id: str
    name: str
    project: str
    deleted: bool


def known(database: Database) -> list[Known]:
    """Lists the runs, the newest first."""
    runs, projects = schema.runs.c, schema.projects.c
    with database.read() as connection:
        rows = connection.execute(
            select(runs.id, runs.name, projects.name.label("project"), runs.deleted_ms)
            .join_from(schema.runs, schema.projects)
            .order_by(runs.started_ms.desc(), runs.id.desc())
        ).all()
    return [Known(row.id, row.name, row.project, row.deleted_ms is not None) for row in rows]


def copy(source: Database, target: Database, run_ids: Sequence[str], project: str | None = None) -> list[str]:
    """Copies runs, each in one transaction, and gives the ids of those that were not there yet; `project` takes the
    place of their own."""
    return [run_id for run_id in run_ids if _copy(source, target, run_id, project)]


def _copy(source: Database, target: Database, run_id: str, project: str | None) -> bool:
    with source.read() as reading:
        try:
            with target.writing.begin() as writing:
                came_ms = time.time_ns() // 1_000_000 + target.ahead_ms()
                return _between(reading, writing, run_id, project, came_ms)
        except DBAPIError as error:
            raise target.translate(error) from error


def _between(reading: Connection, writing: Connection, run_id: str, project: str | None, came_ms: int) -> bool:
    runs, graves = schema.runs, schema.graves
    there = writing.execute(select(runs.c.id).where(runs.c.id == run_id)).first()
    if there or writing.execute(select(graves.c.run_id).where(graves.c.run_id == run_id)).first():
        return False
    row = reading.execute(select(runs).where(runs.c.id == run_id)).one()
    own = reading.execute(select(schema.projects).where(schema.projects.c.id == row.project_id)).one()
    number = _project(writing, project or own.name, own.created_ms)
    writing.execute(insert(runs), {**row._mapping, "project_id": number, "came_ms": came_ms, **_UNCLAIMED})
    for table in _OF_A_RUN:
        _rows(reading, writing, table, run_id)
    mutes = schema.mutes
    for mute in reading.execute(select(mutes).where(mutes.c.run == run_id)).mappings():
        values = {name: value for name, value in mute.items() if name != "id"}
        writing.execute(insert(mutes), {**values, "project": project or own.name})
    return True


def _project(connection: Connection, name: str, created_ms: int) -> int:
    projects = schema.projects
    number = connection.execute(select(projects.c.id).where(projects.c.name == name)).scalar()
    if number is None:
        made = connection.execute(insert(projects).values(name=name, created_ms=created_ms).returning(projects.c.id))
        number = made.scalar_one()
    return int(number)


def _rows(reading: Connection, writing: Connection, table: Table, run_id: str) -> None:
    wanted = select(table).where(table.c.run_id == run_id).execution_options(yield_per=ROWS_A_STEP)
    for rows in reading.execute(wanted).mappings().partitions():
        writing.execute(insert(table), [dict(row) for row in rows])
