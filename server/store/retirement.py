"""Which runs are old enough to be deleted by themselves: those that nothing was heard of for long.

What runs, as far as is known, is archived or has the tag `keep` stays. Not for: deleting them (runs.py, deletion.py) or
when that is done (housekeeping.py).
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_

from server.domain.runs import Run, RunState
from server.store import schema
from server.store.engine import Database
from server.store.run_list import run_of, select_runs

KEEP_TAG = "keep"
LIVING = (RunState.RUNNING.value, RunState.STUCK.value)


def old(heard_before_ms: int) -> ColumnElement[bool]:
    """The condition on a run."""
    runs = schema.runs.c
    return and_(
        runs.heard_ms < heard_before_ms,
        runs.deleted_ms.is_(None),
        runs.archived == 0,
        runs.state.not_in(LIVING),
        runs.tags.not_ilike(f'%"{KEEP_TAG}"%'),
    )


def list_old(database: Database, heard_before_ms: int) -> list[Run]:
    """Lists them, the oldest first, and changes nothing."""
    wanted = select_runs().where(old(heard_before_ms)).order_by(schema.runs.c.heard_ms, schema.runs.c.id)
    with database.read() as connection:
        return [run_of(row) for row in connection.execute(wanted)]
