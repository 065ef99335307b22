"""Shapes the answers about runs and their attempts, and what may be changed of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from server.domain.runs import Attempt, Run, RunState
from server.web.models.values import DiagnosisName, Number, OneLine, Plain, RunStateName, SeverityName

Short = Annotated[OneLine, Field(min_length=1, max_length=100)]


class Health(BaseModel):
    """Says that the server answers, and nothing more."""

    status: Literal["ok"] = "ok"


class RunItem(BaseModel):
    """One run and where it stands. Times are UTC milliseconds since 1970; `best_validation`: the lowest `val/loss`.

    `open_counts` counts its open incidents, each as severe as its worst finding, without what is muted.
    """

    id: str
    project: str
    name: str
    tags: list[str]
    state: RunStateName
    diagnosis: DiagnosisName
    created_ms: int
    started_ms: int
    heard_ms: int
    ended_ms: int | None
    last_step: int
    diagnosed_step: int
    total_steps: int | None
    attempts: int = Field(description="trainings; 0 where there is nothing but a preflight")
    host: str
    archived: bool
    last_loss: Number
    best_validation: Number
    steps_per_s: Number
    verdict: str
    worst_severity: SeverityName | None
    open_counts: dict[str, int]
    sparkline: list[Number]
    config: dict[str, Plain]

    @classmethod
    def of(cls, run: Run) -> RunItem:
        """Makes it from a run; of a loop that stands still programs hear as of a run of which nobody hears."""
        told = {name: getattr(run, name) for name in cls.model_fields}
        state = RunState.SILENT if run.state is RunState.STUCK else run.state
        return cls.model_validate({**told, "state": state}, from_attributes=True)


class RunPage(BaseModel):
    """One page of runs."""

    items: list[RunItem]
    next: str | None


class AttemptItem(BaseModel):
    """One start of the run's process; `id` is the hook's own."""

    number: int
    id: str
    started_ms: int
    first_step: int
    last_step: int

    @classmethod
    def of(cls, attempt: Attempt) -> AttemptItem:
        """Makes it from an attempt."""
        return cls(
            number=attempt.number,
            id=attempt.key,
            started_ms=attempt.started_ms,
            first_step=attempt.first_step,
            last_step=attempt.last_step,
        )


class RunDetail(RunItem):
    """One run with its attempts and the newest of each fact that its training sent."""

    attempt_list: list[AttemptItem]
    facts: dict[str, Plain]


class RunChange(BaseModel):
    """What may be changed of a run; what is left out stays."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: OneLine | None = Field(None, min_length=1, max_length=200)
    tags: list[Short] | None = Field(None, max_length=100)
    archived: bool | None = None


class RunsChange(BaseModel):
    """What may be changed of several runs at once; what is left out stays."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ids: list[Short] = Field(min_length=1, max_length=500)
    archived: bool | None = None
    deleted: bool | None = None
    add_tags: list[Short] = Field([], max_length=100)
    remove_tags: list[Short] = Field([], max_length=100)


class RunsChanged(BaseModel):
    """The runs that were changed; ids that are not known are left out."""

    changed: list[str]
