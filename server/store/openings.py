"""Works out what an opening changes in its run: a new one, one that goes on, a preflight and the training after it.

Pure arithmetic on rows. Not for: SQL (runs.py) or what frames change (progress.py).
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Row

from server.domain.runs import DiagnosisState, NewRun, RunState

MAX_NAME = 200
MAX_TAGS = 100
FIRST_TRAINING, FIRST_PREFLIGHT = 1, 0


def new_run(new: NewRun, project_id: int, now_ms: int) -> dict[str, Any]:
    """Makes the row of a run that nobody knew."""
    number = FIRST_PREFLIGHT if new.preflight else FIRST_TRAINING
    return {
        "id": new.id,
        "project_id": project_id,
        "name": (new.name or default_name(new.id, preflight=new.preflight))[:MAX_NAME],
        "tags": json.dumps(list(new.tags), ensure_ascii=False),
        "config": json.dumps(dict(new.config)),
        "host": new.host,
        "state": RunState.RUNNING.value,
        "diagnosis": DiagnosisState.PENDING.value,
        "created_ms": now_ms,
        "started_ms": new.started_ms or now_ms,
        "heard_ms": now_ms,
        "attempts": number,
        "latest_attempt": number,
        "last_step": new.first_step - 1,
        "version": 1,
        "dirty": 1,
        "dirty_ms": now_ms,
    }


def new_attempt(new: NewRun, number: int) -> dict[str, Any]:
    """Makes the row of an attempt."""
    return {
        "run_id": new.id,
        "number": number,
        "key": new.attempt,
        "started_ms": new.started_ms,
        "first_step": new.first_step,
        "last_step": new.first_step - 1,
        "state": RunState.RUNNING.value,
    }


def default_name(run_id: str, *, preflight: bool) -> str:
    """Names a run that nobody named, so that a preflight can be told from a training."""
    return f"{'preflight' if preflight else 'run'} {run_id[-6:]}"


def resumed(row: Row[Any], new: NewRun, number: int, project_id: int, now_ms: int) -> dict[str, Any]:
    """Says what an attempt that came now changes in its run.

    A training makes the run run again, with figures of its own; the first one after a preflight also says what the run
    is called and belongs to. A preflight changes nothing of a training that is there.
    """
    values: dict[str, Any] = {
        "heard_ms": max(now_ms, row.heard_ms),
        "version": row.version + 1,
        **reopened(row, now_ms),
    }
    if new.preflight and row.attempts:
        return {**values, **_described(row, new, gives_way=True)}
    values |= {
        "state": RunState.RUNNING.value,
        "ended_ms": None,
        "attempts": max(number, 0),
        "latest_attempt": number,
        "last_step": new.first_step - 1,
        "last_step_ms": 0,
        "loss_step": None,
        "loss_seq": None,
        "last_loss": None,
        "steps_per_s": None,
        "sparkline": "",
    }
    if not row.attempts:
        values |= _described(row, new, gives_way=False)
        # who put the preflight away did not mean the training that follows in the same run
        values |= {"project_id": project_id, "started_ms": new.started_ms or now_ms, "archived": 0, "deleted_ms": None}
    return values


def reopened(row: Row[Any], now_ms: int) -> dict[str, Any]:
    """Says that there is something to diagnose again."""
    final = row.diagnosis == DiagnosisState.FINAL
    return {
        "diagnosis": DiagnosisState.LIVE.value if final else row.diagnosis,
        "dirty": 1,
        "dirty_ms": row.dirty_ms if row.dirty else now_ms,
    }


def _described(row: Row[Any], new: NewRun, *, gives_way: bool) -> dict[str, Any]:
    """Joins what preflight and training say of one run, whichever comes first; the training's word counts more."""
    unnamed = row.name in (default_name(new.id, preflight=True), default_name(new.id, preflight=False))
    name = row.name
    if new.name and (unnamed or not gives_way):
        name = new.name[:MAX_NAME]
    elif unnamed:
        name = default_name(new.id, preflight=new.preflight and not row.attempts)
    config = json.loads(row.config)
    if new.config and not (gives_way and config):
        config = dict(new.config)
    tags = list(dict.fromkeys([*json.loads(row.tags), *new.tags]))
    return {
        "name": name,
        "config": json.dumps(config),
        "tags": json.dumps(tags, ensure_ascii=False),
        "host": row.host if gives_way else new.host or row.host,
    }
