"""Runs and attempts: what a training is called, where it stands, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class RunState(StrEnum):
    """Where a run stands.

    `stopped` = Ctrl-C or SIGTERM, `failed` = an exception left the loop, `crashed` = the process died,
    `silent` = nobody heard of it, `stuck` = its process is heard, and its loop closes no step.
    """

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    CRASHED = "crashed"
    SILENT = "silent"
    STUCK = "stuck"


ENDED = frozenset({RunState.FINISHED, RunState.STOPPED, RunState.FAILED, RunState.CRASHED})
JUDGED = ENDED | {RunState.SILENT, RunState.STUCK}  # as if nothing more came, until something does


class DiagnosisState(StrEnum):
    """How far the diagnosis is: `final` = the end-of-run evaluation of everything received is done."""

    PENDING = "pending"
    LIVE = "live"
    FINAL = "final"


@dataclass(frozen=True)
class NewRun:
    """What a hook says when it opens a run or an attempt of it."""

    id: str
    attempt: str
    rank: int = 0
    project: str = "default"
    name: str | None = None
    tags: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    started_ms: int = 0
    first_step: int = 0
    hook_version: str = ""
    host: str = ""
    preflight: bool = False  # an attempt of checks before a training, and no training


def in_order(number: int) -> tuple[bool, int]:
    """Orders attempts by number: preflights count down from 0, trainings up from 1, and a preflight comes first."""
    return number > 0, abs(number)


@dataclass(frozen=True)
class Attempt:
    """One start of a run's process; `key` is the hook's own id of it.

    `number` counts from 1 by start time; preflights are no trainings and have 0, −1, −2, … (see `in_order`).
    """

    run_id: str
    number: int
    key: str
    started_ms: int
    first_step: int
    last_step: int

    @property
    def is_training(self) -> bool:
        """Tells a training from a preflight."""
        return self.number > 0


@dataclass(frozen=True)
class Run:
    """One run, as the runs table and the run page need it. Times are UTC milliseconds since 1970.

    `attempts` counts trainings: a run that holds nothing but a preflight has none.
    """

    id: str
    project: str
    name: str
    tags: tuple[str, ...]
    state: RunState
    diagnosis: DiagnosisState
    created_ms: int
    started_ms: int
    heard_ms: int
    ended_ms: int | None
    last_step: int
    diagnosed_step: int
    attempts: int
    host: str
    config: Mapping[str, Any]
    archived: bool = False
    total_steps: int | None = None
    last_loss: float | None = None
    best_validation: float | None = None
    steps_per_s: float | None = None
    verdict: str = ""
    worst_severity: str | None = None
    open_counts: Mapping[str, int] = field(default_factory=dict)  # incidents by severity
    muted: int = 0  # open findings that are muted
    sparkline: tuple[float | None, ...] = ()
    deleted_ms: int | None = None
    last_step_ms: int = 0  # the newest word of its loop, by the clock of its machine; 0 where there was none

    @property
    def only_preflight(self) -> bool:
        """Says whether no training has followed the preflight yet."""
        return self.attempts == 0


@dataclass(frozen=True)
class Standing:
    """What the diagnosis has to know of a run; `version` grows with every frame and every change of state.

    `attempts` counts all that the run has, preflights too; `several` says that more than one process sends.
    """

    project: str
    state: RunState
    diagnosis: DiagnosisState
    attempts: int
    verdict: str
    version: int
    several: bool


@dataclass(frozen=True)
class Page(Generic[Item]):
    """One page of a list; `next` is the opaque cursor of the page after it."""

    items: tuple[Item, ...]
    next: str | None = None


@dataclass(frozen=True)
class Fact:
    """A fact of a run that holds from `step` on, until a newer one of its name."""

    name: str
    step: int
    value: Any
    attempt: int = 1


@dataclass(frozen=True)
class Event:
    """Something that happened: a note, an epoch, an anomaly, or what the user reported."""

    kind: str
    step: int
    time_ms: int
    value: Mapping[str, Any]
    attempt: int = 1
