"""Works out what a frame changes in its run: state, last step, and the figures of the runs table.

Pure arithmetic on the run's row. Not for: SQL (frames.py) or opening runs (runs.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Row

from server.domain.runs import ENDED, DiagnosisState, RunState
from server.store.blocks import as_floats
from server.store.sparkline import Sparkline
from server.store.summary import Summary

if TYPE_CHECKING:
    from server.store.accepted import AcceptedFrame, AcceptedGroup

LOSS = "loss"
VALIDATION_LOSS = "val/loss"
MACHINE = "system/"  # what the hook's own thread measures, whether the loop goes on or not
RATE_SMOOTHING = 0.3

PROGRESS_COLUMNS = (
    "state",
    "diagnosis",
    "ended_ms",
    "latest_attempt",
    "version",
    "dirty",
    "dirty_ms",
    "last_step",
    "last_step_ms",
    "loss_step",
    "loss_seq",
    "last_loss",
    "best_validation",
    "steps_per_s",
    "total_steps",
    "sparkline",
    "config",
)

# Of several words about the end of one attempt (ranks, or a wrapper that saw the process die) the strongest holds,
# whatever the order in which they come.
_STRENGTH = {RunState.CRASHED: 1, RunState.FINISHED: 2, RunState.STOPPED: 3, RunState.FAILED: 4}


@dataclass(frozen=True)
class Moved:
    """Holds the new values of the run's row and of the attempt's row."""

    run: dict[str, Any]
    attempt: dict[str, Any]
    state_changed: bool


def advance(row: Row[Any], batch: AcceptedFrame, groups: Sequence[tuple[AcceptedGroup, Summary]]) -> Moved:
    """Works out the new values; `row` has PROGRESS_COLUMNS and the attempt's number, state and last step."""
    run = {name: getattr(row, name) for name in PROGRESS_COLUMNS}
    run["heard_ms"] = batch.received_ms
    run["version"] += 1
    if not run["dirty"]:
        run["dirty"], run["dirty_ms"] = 1, batch.received_ms
    if run["diagnosis"] == DiagnosisState.FINAL:
        run["diagnosis"] = DiagnosisState.LIVE.value
    last_step = max([batch.complete, *(int(summary.last_step.max()) for _, summary in groups)])
    attempt: dict[str, Any] = {}
    if last_step > row.attempt_last_step:
        attempt["last_step"] = last_step
    ending = _ending(row.attempt_state, batch)
    if ending is not None:
        attempt["state"], attempt["ended_ms"] = ending
    for group, _ in groups:
        _best_validation(run, group)
    if row.number == row.latest_attempt:
        spoken = [group for group, _ in groups if not all(name.startswith(MACHINE) for name in group.columns)]
        words = [
            *(int(group.times_ms.max()) for group in spoken),
            *(record.time_ms for record in batch.records if record.name != "ledger"),
        ]
        _settle_state(run, ending, spoke=bool(words))
        _move_forward(run, last_step, groups)
        run["last_step_ms"] = max([run["last_step_ms"], *words])
        if batch.rank == 0:
            _follow_facts(run, batch)
            for group, _ in groups:
                _follow_loss(run, group, batch.seq)
    return Moved(run, attempt, run["state"] != row.state)


def _ending(attempt_state: str, batch: AcceptedFrame) -> tuple[str, int] | None:
    best = None
    for record in batch.records:
        if record.kind != "status":
            continue
        state = RunState(record.value["state"])
        if batch.rank and state == RunState.FINISHED:
            continue  # the run is finished when rank 0 is
        if _STRENGTH[state] > _STRENGTH.get(RunState(attempt_state), 0):
            attempt_state = state.value
            best = (state.value, record.time_ms)
    return best


def _settle_state(run: dict[str, Any], ending: tuple[str, int] | None, *, spoke: bool) -> None:
    """Takes over how it ended; else it runs, where its loop `spoke` or nobody thought that it is stuck."""
    if ending is not None:
        run["state"], run["ended_ms"] = ending
    elif run["state"] not in ENDED and (spoke or run["state"] != RunState.STUCK):
        run["state"] = RunState.RUNNING.value


def _move_forward(run: dict[str, Any], last_step: int, groups: Sequence[tuple[AcceptedGroup, Summary]]) -> None:
    if last_step <= run["last_step"]:
        return
    newest = max((int(group.times_ms.max()) for group, _ in groups), default=run["last_step_ms"])
    oldest, since = run["last_step_ms"], run["last_step"]
    if since < 0:
        oldest = min((int(group.times_ms.min()) for group, _ in groups), default=newest)
        since = min((int(group.steps.min()) for group, _ in groups), default=last_step)
    if newest > oldest and last_step > since:
        rate = 1000.0 * (last_step - since) / (newest - oldest)
        known = run["steps_per_s"]
        run["steps_per_s"] = rate if known is None else known + RATE_SMOOTHING * (rate - known)
    run["last_step"], run["last_step_ms"] = last_step, newest


def _follow_loss(run: dict[str, Any], group: AcceptedGroup, seq: int) -> None:
    if LOSS not in group.columns:
        return
    values = as_floats(group.values[group.columns.index(LOSS)])
    last = len(values) - 1 - int(np.argmax(group.steps[::-1]))
    at = (int(group.steps[last]), seq)
    if run["loss_step"] is None or at >= (run["loss_step"], run["loss_seq"]):
        run["loss_step"], run["loss_seq"] = at
        run["last_loss"] = stored_float(float(values[last]))
    run["sparkline"] = Sparkline.load(run["sparkline"]).add(group.steps, values).dump()


def _best_validation(run: dict[str, Any], group: AcceptedGroup) -> None:
    if VALIDATION_LOSS not in group.columns:
        return
    values = group.values[group.columns.index(VALIDATION_LOSS)]
    finite = values[np.isfinite(values)]
    if len(finite):
        best = float(finite.min())
        known = run["best_validation"]
        run["best_validation"] = best if known is None else min(known, best)


def _follow_facts(run: dict[str, Any], batch: AcceptedFrame) -> None:
    for record in batch.records:
        if record.kind != "fact" or not isinstance(record.value, dict):
            continue
        if record.name == "plan":
            total = record.value.get("total_steps")
            if isinstance(total, int) and not isinstance(total, bool) and 0 < total < 2**53:
                run["total_steps"] = total
        elif record.name == "config":
            run["config"] = record.text


def stored_float(value: float) -> float | None:
    """Gives NaN as NULL, as which SQLite would store it anyway; `loss_step` tells it from "no loss yet"."""
    return None if math.isnan(value) else value
