"""Runs and their attempts: opening, listing, changing, deleting.

Not for: what frames change in a run (progress.py), which of them wait for the diagnosis (diagnosis_queue.py) or what it
says of them (findings.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from server.domain.accounts import BY_AGE, EVERY_PROJECT, Deed, Sight
from server.domain.runs import Attempt, DiagnosisState, NewRun, Page, Run, RunState, Standing, in_order
from server.errors import Busy, InvalidFrame, StoreError, UnknownRun, no_run
from server.store import audit, openings, schema
from server.store.catalogue import Catalogue
from server.store.deletion import Deletion
from server.store.engine import Database, in_bytes, upsert
from server.store.retirement import KEEP_TAG, old
from server.store.run_list import RunQuery, run_of, seen_by, select_runs
from server.store.sealing import Sealer
from server.store.writer import Writer

RETIRED_AT_ONCE = 200


# what the diagnosis asks at every frame: made once, because making a statement takes longer than running it
_RUN = select_runs().where(schema.runs.c.id == bindparam("b_run"))
_other_rank = select(schema.streams.c.run_id).where(
    schema.streams.c.run_id == schema.runs.c.id, schema.streams.c["rank"] > 0
)
_attempts_of_run = (
    select(func.count())
    .select_from(schema.attempts)
    .where(schema.attempts.c.run_id == schema.runs.c.id)
    .scalar_subquery()
)
_STANDING = (
    select(
        schema.runs.c.id,
        schema.projects.c.name.label("project"),
        _attempts_of_run.label("attempts"),
        _other_rank.exists().label("several"),
        *(schema.runs.c[name] for name in ("state", "diagnosis", "verdict", "version")),
    )
    .join_from(schema.runs, schema.projects, schema.projects.c.id == schema.runs.c.project_id)
    .where(schema.runs.c.id.in_(bindparam("b_runs", expanding=True)))
)
_PROJECTS = (
    select(schema.runs.c.id, schema.projects.c.name)
    .join_from(schema.runs, schema.projects, schema.projects.c.id == schema.runs.c.project_id)
    .where(schema.runs.c.id.in_(bindparam("b_runs", expanding=True)))
)
_VERSION = select(schema.runs.c.version).where(schema.runs.c.id == bindparam("b_run"))
_ATTEMPTS = select(schema.attempts).where(schema.attempts.c.run_id == bindparam("b_run"))


class Runs:
    """The repository of runs."""

    def __init__(self, database: Database, writer: Writer, catalogue: Catalogue, sealer: Sealer) -> None:
        self._database = database
        self._writer = writer
        self._sealer = sealer
        self._deletion = Deletion(database, writer, catalogue)
        self.opened = 0  # requests so far, roughly

    def open(self, new: NewRun, now_ms: int, sight: Sight = EVERY_PROJECT) -> tuple[Run, int, bool]:
        """Opens a run, or an attempt of it, or hears of one that is open; gives the run, the attempt's number and
        whether anything is new. Raises UnknownRun where the run is there, in a project that may not be seen.
        """
        self.opened += 1
        number, created = self._writer.run(lambda connection: self._open(connection, new, now_ms, sight))
        run = self.get(new.id)
        if run is None:
            raise StoreError(f"Run {new.id} was deleted while it was opened.")
        return run, number, created

    def get(self, run_id: str, sight: Sight = EVERY_PROJECT) -> Run | None:
        """Gives one run; None if it is not known, or of a project that may not be seen."""
        with self._database.read() as connection:
            row = connection.execute(_RUN, {"b_run": run_id}).one_or_none()
        return None if row is None or not sight.sees(row.project) else run_of(row)

    def projects_of(self, run_ids: Sequence[str], sight: Sight = EVERY_PROJECT) -> dict[str, str]:
        """Gives the project of each of these runs; those that are not known, or may not be seen, are left out."""
        with self._database.read() as connection:
            found = connection.execute(_PROJECTS, {"b_runs": list(run_ids)}).all()
        return {run_id: project for run_id, project in found if sight.sees(project)}

    def standing(self, run_id: str) -> Standing | None:
        """Gives what the diagnosis has to know of a run, all of one moment; None if it is not known."""
        return self.standings([run_id]).get(run_id)

    def standings(self, run_ids: Sequence[str]) -> dict[str, Standing]:
        """Gives what the diagnosis has to know of these runs, all of one moment; those not known are left out."""
        with self._database.read() as connection:
            rows = connection.execute(_STANDING, {"b_runs": list(run_ids)}).all()
        return {
            row.id: Standing(
                row.project,
                RunState(row.state),
                DiagnosisState(row.diagnosis),
                row.attempts,
                row.verdict,
                row.version,
                bool(row.several),
            )
            for row in rows
        }

    def page(
        self,
        *,
        project: str | None = None,
        state: str | None = None,
        severity: str | None = None,
        search: str | None = None,
        tag: str | None = None,
        archived: bool = False,
        deleted: bool = False,
        sort: str = "started",
        reverse: bool = False,
        where: Sequence[str] = (),
        cursor: str | None = None,
        limit: int = 50,
        sight: Sight = EVERY_PROJECT,
    ) -> Page[Run]:
        """Gives one page of the runs that fit and may be seen; `sort` is one of SORTS or a column, `where` holds
        conditions on columns (see columns.py).

        Raises InvalidFrame for a sort or a condition that is none, and for a cursor that is not of this list.
        """
        query = RunQuery(project, state, severity, search, tag, archived, deleted, sort, reverse, tuple(where), sight)
        with self._database.read() as connection:
            return query.page(connection, cursor, limit)

    def projects(self, sight: Sight = EVERY_PROJECT) -> list[str]:
        """Lists the projects that have runs and may be seen, by name."""
        projects = schema.projects.c
        runs = schema.runs.c
        has_runs = select(runs.id).where(runs.project_id == projects.id, runs.deleted_ms.is_(None)).exists()
        with self._database.read() as connection:
            names = connection.execute(select(projects.name).where(has_runs).order_by(in_bytes(projects.name)))
            return [name for name in names.scalars() if sight.sees(name)]

    def update(
        self, run_id: str, *, name: str | None = None, tags: list[str] | None = None, archived: bool | None = None
    ) -> Run | None:
        """Changes what is given; None if the run is not known."""
        values: dict[str, Any] = {}
        if name is not None:
            values["name"] = name[: openings.MAX_NAME]
        if tags is not None:
            values["tags"] = json.dumps(list(dict.fromkeys(tags)), ensure_ascii=False)
        if archived is not None:
            values["archived"] = int(archived)
        if values:
            change = update(schema.runs).where(schema.runs.c.id == run_id).values(**values)
            self._writer.run(lambda connection: connection.execute(change).rowcount)
        return self.get(run_id)

    def update_many(
        self,
        run_ids: Sequence[str],
        now_ms: int,
        *,
        archived: bool | None = None,
        deleted: bool | None = None,
        add_tags: Sequence[str] = (),
        remove_tags: Sequence[str] = (),
        keep_heard_before_ms: int | None = None,
        sight: Sight = EVERY_PROJECT,
    ) -> list[str]:
        """Changes several runs in one transaction, all or none; gives the ids of those that are known and may be seen.

        Raises InvalidFrame where a run would have too many tags.
        A deleted run is hidden, and kept until `purge` takes it away. One that comes back and was last heard of before
        `keep_heard_before_ms` is tagged `keep`: `retire` would delete it again at once.
        """
        runs = schema.runs.c
        values: dict[str, Any] = {}
        if archived is not None:
            values["archived"] = int(archived)
        if deleted is not None:
            values["deleted_ms"] = now_ms if deleted else None

        def change(connection: Connection) -> list[str]:
            wanted = select(runs.id, runs.tags, runs.heard_ms, runs.deleted_ms).where(runs.id.in_(run_ids))
            rows = connection.execute(wanted.where(*seen_by(sight))).all()
            for run_id, tags, heard_ms, deleted_ms in rows:
                own = dict(values)
                back = deleted is False and deleted_ms is not None and heard_ms < (keep_heard_before_ms or 0)
                if add_tags or remove_tags or back:
                    added = [*add_tags, KEEP_TAG] if back else add_tags
                    kept = [tag for tag in dict.fromkeys([*json.loads(tags), *added]) if tag not in remove_tags]
                    if add_tags and len(kept) > openings.MAX_TAGS:
                        said = f"run {run_id} would have {len(kept)} tags, at most {openings.MAX_TAGS} are kept"
                        raise InvalidFrame("add_tags", f"add_tags: {said}")
                    own["tags"] = json.dumps(kept, ensure_ascii=False)
                if own:
                    connection.execute(update(schema.runs).where(runs.id == run_id).values(**own))
            return [row.id for row in rows]

        return self._writer.run(change)

    def purge(self, deleted_before_ms: int) -> list[str]:
        """Takes away for good what was deleted before that moment; gives the ids."""
        runs = schema.runs.c
        with self._database.read() as connection:
            found = list(connection.execute(select(runs.id).where(runs.deleted_ms < deleted_before_ms)).scalars())
        self._deletion.finish()
        return [run_id for run_id in found if self.delete(run_id)]

    def retire(self, heard_before_ms: int, now_ms: int) -> list[str]:
        """Marks old runs as deleted (retirement.py), and notes it in the log; gives their ids."""
        runs = schema.runs.c
        wanted = select(runs.id).where(old(heard_before_ms)).order_by(runs.heard_ms, runs.id).limit(RETIRED_AT_ONCE)
        with self._database.read() as connection:
            if connection.execute(wanted).first() is None:
                return []

        def hide(connection: Connection) -> list[str]:
            found = list(connection.execute(wanted).scalars())  # again: what was tagged meanwhile stays
            if found:
                connection.execute(update(schema.runs).where(runs.id.in_(found)).values(deleted_ms=now_ms))
                audit.put(connection, Deed.deletion(now_ms, BY_AGE, found))
            return found

        return self._writer.run(hide)

    def delete(self, run_id: str) -> bool:
        """Deletes a run and all that belongs to it, for good; False if it is not known."""
        return self._deletion.delete(run_id)

    def attempts(self, run_id: str) -> list[Attempt]:
        """Lists the attempts of a run in their order, preflights first."""
        with self._database.read() as connection:
            rows = sorted(connection.execute(_ATTEMPTS, {"b_run": run_id}), key=lambda row: in_order(row.number))
        return [Attempt(row.run_id, row.number, row.key, row.started_ms, row.first_step, row.last_step) for row in rows]

    def frame_version(self, run_id: str) -> int:
        """Gives a number that grows with every accepted frame and every change of state of the run; −1 if unknown."""
        with self._database.read() as connection:
            version = connection.execute(_VERSION, {"b_run": run_id}).scalar_one_or_none()
        return -1 if version is None else version

    def _open(self, connection: Connection, new: NewRun, now_ms: int, sight: Sight) -> tuple[int, bool]:
        runs, attempts = schema.runs.c, schema.attempts.c
        if connection.execute(select(schema.graves.c.run_id).where(schema.graves.c.run_id == new.id)).first():
            raise Busy(f"Run {new.id} is being deleted; try again in a second.")
        row = connection.execute(select(schema.runs).where(runs.id == new.id).with_for_update()).one_or_none()
        if row is None:
            made = openings.new_run(new, _project(connection, new, now_ms), now_ms)
            number: int = made["latest_attempt"]
            connection.execute(insert(schema.runs), made)
            connection.execute(insert(schema.attempts), openings.new_attempt(new, number))
            return number, True
        if not sight.sees(_name_of(connection, row.project_id)):
            raise UnknownRun(no_run(new.id))
        known = connection.execute(
            select(attempts.number).where(attempts.run_id == new.id, attempts.key == new.attempt)
        ).scalar_one_or_none()
        if known is not None:
            values: dict[str, Any] = {"heard_ms": max(now_ms, row.heard_ms)}
            if row.state == RunState.SILENT and not (new.preflight and row.attempts):
                running = {"state": RunState.RUNNING.value, "version": row.version + 1}
                values |= {**running, **openings.reopened(row, now_ms)}
            connection.execute(update(schema.runs).where(runs.id == new.id).values(**values))
            return known, False
        number = _number(connection, new, row.attempts)
        connection.execute(insert(schema.attempts), openings.new_attempt(new, number))
        project_id = row.project_id if row.attempts else _project(connection, new, now_ms)
        values = openings.resumed(row, new, number, project_id, now_ms)
        connection.execute(update(schema.runs).where(runs.id == new.id).values(**values))
        return number, True


def _name_of(connection: Connection, project_id: int) -> str:
    named = select(schema.projects.c.name).where(schema.projects.c.id == project_id)
    return str(connection.execute(named).scalar_one())


def _project(connection: Connection, new: NewRun, now_ms: int) -> int:
    connection.execute(
        upsert(schema.projects).on_conflict_do_nothing(index_elements=["name"]),
        {"name": new.project, "created_ms": now_ms},
    )
    named = select(schema.projects.c.id).where(schema.projects.c.name == new.project)
    return int(connection.execute(named).scalar_one())


def _number(connection: Connection, new: NewRun, trainings: int) -> int:
    if not new.preflight:
        return trainings + 1
    number = schema.attempts.c.number
    lowest = connection.execute(select(func.min(number)).where(schema.attempts.c.run_id == new.id)).scalar_one()
    return min(int(lowest), openings.FIRST_TRAINING) - 1
