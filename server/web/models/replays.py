"""Shapes what is asked and said about a replay over the runs of a project."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from server.diagnosis.differences import ProjectReplay, RunDifference, Told
from server.diagnosis.replays import DEFAULT_RUNS, MOST_RUNS
from server.web.models.doctor import RenewedRule, UnaskedRule
from server.web.models.values import OneLine, SeverityName

StateName = Literal["running", "done", "stopped", "out-of-time"]


class ProjectReplayRequest(BaseModel):
    """Thresholds to replay the newest runs of a project with, by code and name, on top of its own.

    Without thresholds the rules judge as they do now: that shows what another version of a rule changes.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    project: Annotated[OneLine, Field(min_length=1, max_length=200)]
    thresholds: dict[str, dict[str, float]] = {}
    runs: Annotated[int, Field(ge=1, le=MOST_RUNS)] = DEFAULT_RUNS


class ToldItem(BaseModel):
    """One finding of a difference."""

    code: str
    name: str
    severity: SeverityName
    message: str
    step: int

    @classmethod
    def of(cls, item: Told) -> ToldItem:
        """Makes it of the diagnosis' own."""
        return cls.model_validate(vars(item))


class RunDifferenceItem(BaseModel):
    """What of one run would appear, vanish or be said otherwise; `problem` says why nobody knows."""

    run: str
    name: str
    appear: list[ToldItem]
    vanish: list[ToldItem]
    otherwise: list[ToldItem]
    same: int
    problem: str

    @classmethod
    def of(cls, item: RunDifference) -> RunDifferenceItem:
        """Makes it of the diagnosis' own."""
        return cls(
            run=item.run_id,
            name=item.name,
            appear=[ToldItem.of(told) for told in item.appear],
            vanish=[ToldItem.of(told) for told in item.vanish],
            otherwise=[ToldItem.of(told) for told in item.otherwise],
            same=item.same,
            problem=item.problem,
        )


class RuleTallyItem(BaseModel):
    """In how many findings a rule would differ."""

    code: str
    name: str
    appear: int
    vanish: int
    otherwise: int


class ProjectReplayItem(BaseModel):
    """A replay over a project as it stands; `done` of `total` runs were judged, `left_out` are not diagnosed yet."""

    id: str
    project: str
    thresholds: dict[str, dict[str, float]]
    began_ms: int
    state: StateName
    total: int
    done: int
    left_out: int
    rules: list[RuleTallyItem]
    runs: list[RunDifferenceItem]
    renewed: list[RenewedRule]
    unasked: list[UnaskedRule]
    problem: str

    @classmethod
    def of(cls, item: ProjectReplay) -> ProjectReplayItem:
        """Makes it of the diagnosis' own."""
        return cls(
            id=item.id,
            project=item.project,
            thresholds={code: dict(values) for code, values in item.thresholds.items()},
            began_ms=item.began_ms,
            state=item.state.value,
            total=item.total,
            done=item.done,
            left_out=item.left_out,
            rules=[RuleTallyItem.model_validate(vars(tally)) for tally in item.rules],
            runs=[RunDifferenceItem.of(run) for run in item.runs],
            renewed=[RenewedRule(code=code, stored_version=was, version=now) for code, was, now in item.renewed],
            unasked=[UnaskedRule(code=code, reason=why) for code, why in item.unasked],
            problem=item.problem,
        )


class ProjectReplayList(BaseModel):
    """The replays of a project that the server process still knows, the newest first."""

    items: list[ProjectReplayItem]
