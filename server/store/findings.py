"""Keeps what the diagnosis found, what became of each rule, and what users said to it (acknowledged, muted).

Not for: judging (server.diagnosis).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, and_, bindparam, delete, func, insert, select, update

from server.domain.findings import CheckResult, Evidence, Finding, Severity
from server.domain.runs import DiagnosisState
from server.domain.told import standing_of
from server.store import schema
from server.store.engine import Database, upsert
from server.store.telling import Telling
from server.store.writer import Writer

Speaker = Callable[[Sequence[Finding], Sequence[CheckResult]], str]

MUTED = "muted"  # beside the severities in runs.open_counts

_KEPT = {"run_id", "number", "acknowledged", "muted"}


class _Standing(NamedTuple):
    number: int
    cause: int | None
    severity: Severity
    state: str
    muted: bool


class Speech:
    """Says how a run stands where people changed what its findings may say; `speaker` makes the sentence."""

    def __init__(self) -> None:
        self.speaker: Speaker | None = None  # None: the last sentence of the diagnosis stays

    def standing(self, connection: Connection, run_id: str) -> dict[str, Any]:
        """Counts the findings that speak, and says the verdict anew."""
        return {**standing(connection, run_id), **self.verdict(connection, run_id)}

    def is_said(self, connection: Connection, run_id: str) -> bool:
        """Says whether the verdict of a run is what it would be now."""
        stored = connection.execute(
            select(schema.runs.c.verdict).where(schema.runs.c.id == run_id)
        ).scalar_one_or_none()
        return self.verdict(connection, run_id).get("verdict", stored) == stored

    def verdict(self, connection: Connection, run_id: str) -> dict[str, Any]:
        """Says the verdict anew; nothing where nobody can."""
        if self.speaker is None:
            return {}
        return {"verdict": self.speaker(_findings(connection, run_id), _checks(connection, run_id))}


class Findings:
    """The repository of findings and checks."""

    def __init__(self, database: Database, writer: Writer, telling: Telling) -> None:
        self._telling = telling
        self.speech = Speech()
        self._database = database
        self._writer = writer

    def list(self, run_id: str) -> list[Finding]:
        """Lists all findings of a run by number: open, resolved and absorbed ones."""
        with self._database.read() as connection:
            return _findings(connection, run_id)

    def checks(self, run_id: str) -> Sequence[CheckResult]:
        """Lists what became of each rule, by code."""
        with self._database.read() as connection:
            return _checks(connection, run_id)

    def save(
        self,
        run_id: str,
        *,
        findings: Sequence[Finding],
        checks: Sequence[CheckResult] | None,
        diagnosed_step: int,
        diagnosis: DiagnosisState,
        seen_version: int,
        verdict: str,
    ) -> None:
        """Stores a diagnosis of the run as it was at `seen_version`, in one transaction.

        What users said to a finding stays. A run that changed meanwhile stays dirty, and its diagnosis is not final.
        `checks` None: they are as they were.
        """
        self.submit(
            run_id,
            findings=findings,
            checks=checks,
            diagnosed_step=diagnosed_step,
            diagnosis=diagnosis,
            seen_version=seen_version,
            verdict=verdict,
        ).result()

    def submit(
        self,
        run_id: str,
        *,
        findings: Sequence[Finding],
        checks: Sequence[CheckResult] | None,
        diagnosed_step: int,
        diagnosis: DiagnosisState,
        seen_version: int,
        verdict: str,
        then: Callable[[], None] = lambda: None,
    ) -> Future[None]:
        """Puts a diagnosis in line as `save` stores it, without waiting; `then` is called after the commit, from the
        writer's thread.
        """

        def store(connection: Connection) -> None:
            known = connection.execute(_LOCK, {"b_run": run_id}).one_or_none()
            if known is None:
                return  # deleted meanwhile
            if findings:
                before = self._telling.before(connection, run_id, findings)
                connection.execute(_PUT, [_row(finding) for finding in findings])
                self._telling.findings(connection, run_id, before)
            if checks is not None:
                connection.execute(delete(schema.checks).where(schema.checks.c.run_id == run_id))
            if checks:
                connection.execute(
                    insert(schema.checks),
                    [
                        {"run_id": run_id, "code": c.code, "outcome": c.outcome, "reason": c.reason, "remedy": c.remedy}
                        for c in checks
                    ],
                )
            current = known.version == seen_version
            final = diagnosis == DiagnosisState.FINAL and not current
            values: dict[str, Any] = {
                "b_run": run_id,
                "diagnosed_step": diagnosed_step,
                "diagnosis": (DiagnosisState.LIVE if final else diagnosis).value,
                "verdict": verdict,
            }
            if findings:
                values |= standing(connection, run_id)
            if known.muted:  # of that the diagnosis knows nothing
                values |= self.speech.verdict(connection, run_id)
            if current:
                values["dirty"] = 0
            connection.execute(_SAVE_CHANGED if findings else _SAVE, values)

        return self._writer.submit(store, lambda _: then())

    def patch(
        self, run_id: str, number: int, *, acknowledged: bool | None = None, muted: bool | None = None
    ) -> Finding | None:
        """Acknowledges or mutes a finding, or takes that back; None if the run has no such finding."""
        said = {"acknowledged": acknowledged, "muted": muted}
        values = {name: int(value) for name, value in said.items() if value is not None}
        this = and_(schema.findings.c.run_id == run_id, schema.findings.c.number == number)

        def change(connection: Connection) -> Finding | None:
            if values:
                connection.execute(update(schema.findings).where(this).values(**values))
            row = connection.execute(select(schema.findings).where(this)).one_or_none()
            if row is None:
                return None
            said = standing(connection, run_id) if muted is None else self.speech.standing(connection, run_id)
            connection.execute(
                update(schema.runs)
                .where(schema.runs.c.id == run_id)
                .values(findings_version=schema.runs.c.findings_version + 1, **said)
            )
            return _finding(row)

        return self._writer.run(change)

    def version(self, run_id: str) -> int:
        """Gives a number that changes whenever the findings of the run do; −1 if the run is not known."""
        with self._database.read() as connection:
            found = connection.execute(
                select(func.max(schema.runs.c.findings_version)).where(schema.runs.c.id == run_id)
            ).scalar_one()
        return -1 if found is None else found


def standing(connection: Connection, run_id: str) -> dict[str, Any]:
    """Counts the incidents by their severity, and what is muted."""
    rows = connection.execute(_STANDING, {"b_run": run_id}).all()
    incidents, muted = standing_of(
        [_Standing(row.number, row.cause, Severity(row.severity), row.state, bool(row.muted)) for row in rows]
    )
    worst = max(incidents, key=lambda severity: severity.rank, default=None)
    counts = {severity.value: amount for severity, amount in incidents.items()} | ({MUTED: muted} if muted else {})
    return {"worst_severity": worst.value if worst else None, "open_counts": json.dumps(counts)}


def _findings(connection: Connection, run_id: str) -> list[Finding]:
    findings = schema.findings.c
    query = select(schema.findings).where(findings.run_id == run_id).order_by(findings.number)
    return [_finding(row) for row in connection.execute(query).all()]


def _checks(connection: Connection, run_id: str) -> list[CheckResult]:
    checks = schema.checks.c
    rows = connection.execute(select(schema.checks).where(checks.run_id == run_id).order_by(checks.code)).all()
    return [CheckResult(row.code, row.outcome, row.reason, row.remedy) for row in rows]


def _row(finding: Finding) -> dict[str, Any]:
    evidence = finding.evidence
    return {
        "run_id": finding.run_id,
        "number": finding.number,
        "code": finding.code,
        "name": finding.name,
        "rule_version": finding.rule_version,
        "severity": finding.severity.value,
        "state": finding.state,
        "attempt": finding.attempt,
        "first_step": finding.first_step,
        "raised_step": finding.raised_step,
        "last_step": finding.last_step,
        "resolved_step": finding.resolved_step,
        "message": finding.message,
        "advice": finding.advice,
        "layers": json.dumps(list(finding.layers)),
        "ranks": json.dumps(list(finding.ranks)),
        "evidence": json.dumps(
            {
                "numbers": dict(evidence.numbers),
                "strings": dict(evidence.strings),
                "series": list(evidence.series),
                "limit": evidence.limit,
            }
        ),
        "params": json.dumps(dict(finding.params)),
        "cause": finding.cause,
        "acknowledged": int(finding.acknowledged),
        "muted": int(finding.muted),
    }


def _finding(row: Row[Any]) -> Finding:
    evidence = json.loads(row.evidence)
    return Finding(
        run_id=row.run_id,
        number=row.number,
        code=row.code,
        name=row.name,
        rule_version=row.rule_version,
        severity=Severity(row.severity),
        state=row.state,
        first_step=row.first_step,
        raised_step=row.raised_step,
        last_step=row.last_step,
        message=row.message,
        advice=row.advice,
        layers=tuple(json.loads(row.layers)),
        ranks=tuple(json.loads(row.ranks)),
        evidence=Evidence(evidence["numbers"], evidence["strings"], tuple(evidence["series"]), evidence["limit"]),
        params=json.loads(row.params),
        attempt=row.attempt,
        cause=row.cause,
        acknowledged=bool(row.acknowledged),
        muted=bool(row.muted),
        resolved_step=row.resolved_step,
    )


_put = upsert(schema.findings)
_PUT = _put.on_conflict_do_update(
    index_elements=["run_id", "number"],
    set_={column.name: _put.excluded[column.name] for column in schema.findings.c if column.name not in _KEPT},
)
# made once, because making a statement takes longer than running it
_MUTED = select(schema.findings.c.number).where(
    schema.findings.c.run_id == bindparam("b_run"), schema.findings.c.muted != 0
)
_STANDING = select(
    schema.findings.c.number,
    schema.findings.c.cause,
    schema.findings.c.severity,
    schema.findings.c.state,
    schema.findings.c.muted,
).where(schema.findings.c.run_id == bindparam("b_run"))
_LOCK = (
    select(schema.runs.c.version, _MUTED.exists().label("muted"))
    .where(schema.runs.c.id == bindparam("b_run"))
    .with_for_update()
)
_SAVE = update(schema.runs).where(schema.runs.c.id == bindparam("b_run"))
_SAVE_CHANGED = _SAVE.values(findings_version=schema.runs.c.findings_version + 1)
