"""The JSON routes about runs, findings and rules. Each asks the store and shapes the answer.

Not for: taking frames (ingest_api), live streams (live_api) or series data (series_api).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Response

from server.accounts.powers import Caller, Power
from server.diagnosis.urgency import most_urgent_first
from server.domain.accounts import Deed
from server.domain.runs import Run
from server.errors import no_run
from server.store.run_list import SORTS
from server.web import preflighted
from server.web.caller import Asking, signed
from server.web.lookup import Cursor, Limit, allow, existing_run, page_of
from server.web.models.findings import FindingChange, FindingItem, FindingPage
from server.web.models.rules import ChecklistItem, ChecklistPage, LeftOut, RuleItem, RulePage
from server.web.models.runs import AttemptItem, Health, RunChange, RunDetail, RunItem, RunPage, RunsChange, RunsChanged
from server.web.models.values import RunStateName, SeverityName
from server.web.problems import Problem
from server.web.services import Parts

MAX_BODY_BYTES = 64 * 1024
DAY_MS = 86_400_000

_SENTENCES: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "not known"},
    413: {"model": Problem, "description": "the body is larger than what is accepted"},
    422: {"model": Problem, "description": "a parameter or field is wrong"},
}

WHERE_HELP = "a column, a comparison (=, !=, <, <=, >, >=) and a value: `config.lr<0.1`; may be repeated"
SORT_HELP = f"{', '.join(SORTS)}, or config.<key>, last.<series>, min.<series>, max.<series>"

router = APIRouter(prefix="/api/v1", responses=_SENTENCES, max_body_size=MAX_BODY_BYTES)
TheRun = Annotated[Run, Depends(existing_run)]


@router.head("/health", include_in_schema=False)
@router.get("/health", tags=["server"], operation_id="health", openapi_extra={"security": [{}]})
async def health() -> Health:
    """Says that the server answers; it is open to everybody and says no more."""
    return Health()


@router.get("/runs", tags=["runs"])
def list_runs(
    parts: Parts,
    caller: Asking,
    project: Annotated[str | None, Query(max_length=200)] = None,
    state: RunStateName | None = None,
    severity: SeverityName | None = None,
    search: Annotated[str | None, Query(max_length=200, description="part of the name or id")] = None,
    tag: Annotated[str | None, Query(max_length=100)] = None,
    archived: bool = False,
    deleted: bool = False,
    sort: Annotated[str, Query(max_length=300, description=SORT_HELP)] = "started",
    reverse: bool = False,
    where: Annotated[
        list[Annotated[str, Query(max_length=600)]] | None, Query(max_length=20, description=WHERE_HELP)
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> RunPage:
    """Lists runs, newest first unless sorted otherwise."""
    page = parts.store.runs.page(
        project=project,
        state=state,
        severity=severity,
        search=search,
        tag=tag,
        archived=archived,
        deleted=deleted,
        sort=sort,
        reverse=reverse,
        where=where or (),
        cursor=cursor,
        limit=limit,
        sight=caller.sight(),
    )
    return RunPage(items=[RunItem.of(run) for run in page.items], next=page.next)


@router.get("/runs/{run_id}", tags=["runs"])
def get_run(run: TheRun, parts: Parts) -> RunDetail:
    """Gives one run with its attempts and facts."""
    return _detail(run, parts)


@router.patch("/runs/{run_id}", tags=["runs"])
def change_run(run: TheRun, change: RunChange, parts: Parts) -> RunDetail:
    """Renames, tags or archives a run."""
    changed = parts.store.runs.update(run.id, **change.model_dump(exclude_none=True))
    if changed is None:
        raise HTTPException(404, no_run(run.id))
    parts.live.publish(run.id, "state", changed.last_step)
    return _detail(changed, parts)


@router.delete("/runs/{run_id}", tags=["runs"], status_code=204)
def delete_run(run: TheRun, parts: Parts, caller: Asking) -> Response:
    """Deletes a run; for a day `POST runs/changes` with `deleted: false` brings it back."""
    parts.store.runs.update_many([run.id], parts.clock(), deleted=True, sight=caller.sight(Power.CHANGE))
    _log(parts, caller, [run.id])
    parts.live.publish(run.id, "state", run.last_step)
    return Response(status_code=204)


@router.post("/runs/changes", tags=["runs"])
def change_runs(change: RunsChange, parts: Parts, caller: Asking) -> RunsChanged:
    """Archives, deletes, brings back or tags several runs at once."""
    sight = caller.sight()
    for project in sorted(set(parts.store.runs.projects_of(change.ids, sight=sight).values())):
        allow(caller, project, Power.CHANGE)
    now, days = parts.clock(), parts.settings.keep_days
    retired_ms = None if days is None else now - int(days * DAY_MS)
    changed = parts.store.runs.update_many(
        change.ids,
        now,
        **change.model_dump(exclude={"ids"}),
        keep_heard_before_ms=retired_ms,
        sight=caller.sight(Power.CHANGE),
    )
    for run_id in changed:
        parts.live.publish(run_id, "state", -1)
    if change.deleted and changed:
        _log(parts, caller, changed)
    return RunsChanged(changed=changed)


@router.get("/runs/{run_id}/findings", tags=["findings"])
def list_findings(
    run: TheRun,
    parts: Parts,
    state: Literal["open", "resolved"] | None = None,
    severity: SeverityName | None = None,
    cause: Annotated[
        str | None, Query(pattern=r"^(none|[0-9]{1,9})$", description="`none`, or the id of a finding")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> FindingPage:
    """Lists the findings of a run, the most urgent first: open ones, then muted, then resolved, causes before symptoms.

    The first that is open and not muted is the top line of the run's page.
    """
    wanted_cause = None if cause in (None, "none") else int(cause)
    found = [
        finding
        for finding in most_urgent_first(parts.store.findings.list(run.id), parts.registry)
        if (state is None or finding.state == state)
        and (severity is None or finding.severity == severity)
        and (cause is None or finding.cause == wanted_cause)
    ]
    page = page_of(found, cursor, limit)
    return FindingPage(items=[FindingItem.of(finding) for finding in page.items], next=page.next)


@router.patch("/runs/{run_id}/findings/{finding_id}", tags=["findings"])
def change_finding(run: TheRun, finding_id: str, change: FindingChange, parts: Parts, caller: Asking) -> FindingItem:
    """Acknowledges or mutes a finding, or takes that back."""
    number = int(finding_id) if finding_id.isascii() and finding_id.isdigit() and len(finding_id) < 10 else -1
    changed = parts.store.findings.patch(run.id, number, acknowledged=change.acknowledged, muted=change.muted)
    if changed is None:
        raise HTTPException(404, f"Run {run.id} has no finding {finding_id[:20]!r}")
    for action in change.actions():
        parts.store.wishes.remark(
            run.id, number, action, who=signed(caller, change.who), reason=change.reason, now_ms=parts.clock()
        )
    parts.live.publish(run.id, "findings", run.diagnosed_step)
    return FindingItem.of(changed)


@router.get("/runs/{run_id}/checklist", tags=["findings"])
def get_checklist(run: TheRun, parts: Parts, cursor: Cursor = None, limit: Limit = 500) -> ChecklistPage:
    """Says of every rule whether the run passed it, has it, or why it could not be judged."""
    checks = {check.code: check for check in parts.store.findings.checks(run.id)}
    findings = parts.store.findings.list(run.id)
    page = page_of(list(parts.registry), cursor, limit)
    before = preflighted.without_curves(run.id, parts)
    items = [
        ChecklistItem.of(rule, checks.get(rule.code), findings, before.get(rule.code) if before else None)
        for rule in page.items
    ]
    return ChecklistPage(items=items, next=page.next)


@router.get("/rules", tags=["rules"])
def list_rules(parts: Parts, cursor: Cursor = None, limit: Limit = 500) -> RulePage:
    """Lists the catalogue of rules, with those of others that were switched off or could not be loaded."""
    page = page_of(list(parts.registry), cursor, limit)
    return RulePage(
        items=[RuleItem.of(rule, parts.rooms.off.get(rule.code, "")) for rule in page.items],
        next=page.next,
        left_out=[LeftOut(source=item.source, reason=item.sentence) for item in parts.registry.problems],
    )


def _log(parts: Parts, caller: Caller, deleted: Sequence[str]) -> None:
    """Notes who deleted runs, where anybody is known."""
    if caller.name:
        parts.store.audit.note(Deed.deletion(parts.clock(), caller.name, deleted))


def _detail(run: Run, parts: Parts) -> RunDetail:
    item = RunItem.of(run)
    return RunDetail(
        **item.model_dump(),
        attempt_list=[AttemptItem.of(attempt) for attempt in parts.store.runs.attempts(run.id) if attempt.is_training],
        facts=parts.store.records.facts(run.id),
    )
