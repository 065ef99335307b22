"""Keeps what people wish of the diagnosis: thresholds of a project with their history, mutes, and remarks on findings.

Not for: applying thresholds (server.diagnosis).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial

from sqlalchemy import Connection, func, insert, select, update

from server.domain.accounts import EVERY_PROJECT, Sight
from server.domain.wishes import EVERY_CODE, Mute, MutedFinding, Remark, Threshold
from server.store import schema
from server.store.engine import Database
from server.store.findings import Speech
from server.store.writer import Writer

BY_HAND, BY_MUTE = 1, 2  # in findings.muted: silenced by somebody who pressed the button, or by a mute
RUNS_TOGETHER = 50  # whose mutes are applied in one transaction


class Wishes:
    """The repository of thresholds, mutes and remarks."""

    def __init__(self, database: Database, writer: Writer, speech: Speech) -> None:
        self._speech = speech
        self._database = database
        self._writer = writer

    # -- thresholds ----------------------------------------------------------------------------------------------------

    def set_threshold(
        self, project: str, code: str, name: str, value: float | None, *, who: str, reason: str, now_ms: int
    ) -> Threshold:
        """Sets a threshold of a project from now on; None gives the rule's own back. What was before stays known."""
        values = {
            "project": project, "code": code, "name": name, "value": value, "who": who, "reason": reason,
            "created_ms": now_ms,
        }  # fmt: skip

        def put(connection: Connection) -> int:
            made = connection.execute(insert(schema.thresholds).values(**values).returning(schema.thresholds.c.id))
            return int(made.scalar_one())

        return Threshold(self._writer.run(put), project, code, name, value, who, reason, now_ms)

    def threshold_history(self, project: str, sight: Sight = EVERY_PROJECT) -> Sequence[Threshold]:
        """Lists every change of a project's thresholds, oldest first; nothing of one that may not be seen."""
        if not sight.sees(project):
            return []
        table = schema.thresholds
        with self._database.read() as connection:
            rows = connection.execute(select(table).where(table.c.project == project).order_by(table.c.id)).all()
        return [
            Threshold(row.id, row.project, row.code, row.name, row.value, row.who, row.reason, row.created_ms)
            for row in rows
        ]

    def thresholds(self, project: str, sight: Sight = EVERY_PROJECT) -> dict[str, dict[str, float]]:
        """Gives the thresholds that a project has now, by code and name; rules that keep their own are left out."""
        found: dict[str, dict[str, float]] = {}
        for item in self.threshold_history(project, sight):
            own = found.setdefault(item.code, {})
            if item.value is None:
                own.pop(item.name, None)
            else:
                own[item.name] = item.value
        return {code: own for code, own in found.items() if own}

    def thresholds_version(self, project: str) -> int:
        """Gives a number that grows with every change of a project's thresholds."""
        table = schema.thresholds
        with self._database.read() as connection:
            newest = connection.execute(select(func.max(table.c.id)).where(table.c.project == project)).scalar_one()
        return newest or 0

    # -- mutes --------------------------------------------------------------------------------------------------------

    def add_mute(
        self,
        project: str,
        code: str,
        *,
        run: str = "",
        layers: str = "",
        who: str = "",
        reason: str = "",
        now_ms: int,
        expires_ms: int | None = None,
    ) -> Mute:
        """Silences a rule's findings in a run, or in a project, in all layers or those of a pattern."""
        values = {
            "project": project, "run": run, "code": code, "layers": layers, "who": who, "reason": reason,
            "created_ms": now_ms, "expires_ms": expires_ms,
        }  # fmt: skip

        def put(connection: Connection) -> int:
            number = int(
                connection.execute(insert(schema.mutes).values(**values).returning(schema.mutes.c.id)).scalar_one()
            )
            self._apply(connection, _runs_of(connection, project, run), now_ms)
            return number

        return Mute(self._writer.run(put), project, run, code, layers, who, reason, now_ms, expires_ms)

    def end_mute(self, mute_id: int, now_ms: int) -> Mute | None:
        """Lets a mute expire now; None if there is no such mute."""
        table = schema.mutes

        def end(connection: Connection) -> Mute | None:
            connection.execute(update(table).where(table.c.id == mute_id).values(expires_ms=now_ms))
            row = connection.execute(select(table).where(table.c.id == mute_id)).one_or_none()
            if row is None:
                return None
            self._apply(connection, _runs_of(connection, row.project, row.run), now_ms)
            return Mute(*row)

        return self._writer.run(end)

    def mutes(self, project: str, *, at_ms: int | None = None, sight: Sight = EVERY_PROJECT) -> Sequence[Mute]:
        """Lists a project's mutes, oldest first; with a time only those that hold then."""
        if not sight.sees(project):
            return []
        table = schema.mutes
        with self._database.read() as connection:
            rows = connection.execute(select(table).where(table.c.project == project).order_by(table.c.id)).all()
        found = [Mute(*row) for row in rows]
        return (
            found if at_ms is None else [item for item in found if item.expires_ms is None or item.expires_ms > at_ms]
        )

    def muted_by_hand(self, project: str, limit: int, sight: Sight = EVERY_PROJECT) -> Sequence[MutedFinding]:
        """Lists the open findings of a project that somebody muted by themselves, those of its newest runs first."""
        if not sight.sees(project):
            return []
        findings, runs, projects = schema.findings.c, schema.runs.c, schema.projects.c
        query = (
            select(runs.id, runs.name, findings.number, findings.code, findings.name)
            .join_from(schema.findings, schema.runs, runs.id == findings.run_id)
            .join(schema.projects, projects.id == runs.project_id)
            .where(projects.name == project, runs.deleted_ms.is_(None))
            .where(findings.state == "open", findings.muted == BY_HAND)
            .order_by(runs.started_ms.desc(), runs.id, findings.number)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [MutedFinding(*row) for row in connection.execute(query)]

    def apply_mutes(self, run_ids: Iterable[str], now_ms: int) -> Sequence[str]:
        """Silences what mutes cover and gives the rest its voice back; gives the runs in which something changed."""
        wanted = list(run_ids)
        with self._database.read() as connection:
            any_mute = connection.execute(select(schema.mutes.c.id).limit(1)).first() is not None
        return (
            self._writer.run(lambda connection: self._apply(connection, wanted, now_ms)) if any_mute and wanted else []
        )

    def apply_all_mutes(self, now_ms: int) -> Sequence[str]:
        """Applies the mutes to all runs in which something is or should be silent; gives those that changed.

        For the start of a server, which does not know what ended, and what was left half done, while none ran.
        """
        findings, runs, projects = schema.findings.c, schema.runs.c, schema.projects.c
        mutes = schema.mutes.c
        holds = mutes.expires_ms.is_(None) | (mutes.expires_ms > now_ms)
        covers = mutes.run.in_(("", runs.id)) & mutes.code.in_((EVERY_CODE, findings.code))
        silent = select(findings.run_id).where(findings.muted != 0)
        speaking = (
            select(findings.run_id)
            .join_from(schema.findings, schema.runs, runs.id == findings.run_id)
            .join(schema.projects, projects.id == runs.project_id)
            .join(schema.mutes, mutes.project == projects.name)
            .where(findings.muted == 0, holds, covers)
        )
        with self._database.read() as connection:
            waiting = list(connection.execute(silent.union(speaking)).scalars())
        changed: list[str] = []
        for at in range(0, len(waiting), RUNS_TOGETHER):  # frames have their turn in between
            some = waiting[at : at + RUNS_TOGETHER]
            changed += self._writer.run(partial(self._apply, run_ids=some, now_ms=now_ms, anew=True))
        return changed

    def expire_mutes(self, since_ms: int, now_ms: int) -> Sequence[str]:
        """Gives back the voice of findings whose mute ran out in between; gives the runs in which something changed."""
        table = schema.mutes
        over = (table.c.expires_ms > since_ms) & (table.c.expires_ms <= now_ms)
        with self._database.read() as connection:
            ended = connection.execute(select(table.c.project, table.c.run).where(over)).all()
        if not ended:
            return []

        def expire(connection: Connection) -> Sequence[str]:
            runs = [run for project, run in ended for run in _runs_of(connection, project, run)]
            return self._apply(connection, list(dict.fromkeys(runs)), now_ms)

        return self._writer.run(expire)

    def _apply(self, connection: Connection, run_ids: Sequence[str], now_ms: int, *, anew: bool = False) -> list[str]:
        """Silences what mutes cover in these runs; `anew` also where only the verdict speaks of what is silent."""
        changed: list[str] = []
        runs, projects, findings = schema.runs.c, schema.projects.c, schema.findings.c
        for run_id in run_ids:
            query = select(projects.name).join_from(schema.runs, schema.projects, runs.project_id == projects.id)
            project = connection.execute(query.where(runs.id == run_id)).scalar_one_or_none()
            if project is None:
                continue
            mutes = [
                Mute(*row)
                for row in connection.execute(select(schema.mutes).where(schema.mutes.c.project == project)).all()
            ]
            known = connection.execute(
                select(findings.number, findings.code, findings.layers, findings.muted).where(findings.run_id == run_id)
            ).all()
            moved = False
            for number, code, layers, muted in known:
                covered = any(mute.covers(run_id, code, json.loads(layers), now_ms) for mute in mutes)
                wanted = BY_MUTE if covered and muted == 0 else 0 if not covered and muted == BY_MUTE else muted
                if wanted != muted:
                    this = (findings.run_id == run_id) & (findings.number == number)
                    connection.execute(update(schema.findings).where(this).values(muted=wanted))
                    moved = True
            if moved or (anew and not self._speech.is_said(connection, run_id)):
                connection.execute(
                    update(schema.runs)
                    .where(runs.id == run_id)
                    .values(findings_version=runs.findings_version + 1, **self._speech.standing(connection, run_id))
                )
                changed.append(run_id)
        return changed

    # -- remarks ------------------------------------------------------------------------------------------------------

    def remark(self, run_id: str, finding: int, action: str, *, who: str, reason: str, now_ms: int) -> None:
        """Notes who did what to a finding, and when."""
        table = schema.remarks

        def put(connection: Connection) -> None:
            number = connection.execute(select(func.max(table.c.number)).where(table.c.run_id == run_id)).scalar_one()
            values = {"run_id": run_id, "number": (number or 0) + 1, "finding": finding, "action": action}
            connection.execute(insert(table).values(**values, who=who, reason=reason, at_ms=now_ms))

        self._writer.run(put)

    def remarks(self, run_id: str) -> Sequence[Remark]:
        """Lists what was done to the findings of a run, oldest first."""
        table = schema.remarks
        with self._database.read() as connection:
            rows = connection.execute(select(table).where(table.c.run_id == run_id).order_by(table.c.number)).all()
        return [Remark(*row) for row in rows]


def _runs_of(connection: Connection, project: str, run: str) -> list[str]:
    if run:
        return [run]
    runs, projects = schema.runs.c, schema.projects.c
    query = select(runs.id).join_from(schema.runs, schema.projects, runs.project_id == projects.id)
    return list(connection.execute(query.where(projects.name == project)).scalars())
