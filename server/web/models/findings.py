"""Shapes the answers about findings, and what may be changed of one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from server.domain.findings import Finding
from server.web.models.values import Number, OneLine, Plain, SeverityName


class EvidenceItem(BaseModel):
    """Proves a finding: numbers and texts by name, the series to look at, and the limit that was crossed."""

    numbers: dict[str, Number]
    strings: dict[str, str]
    series: list[str]
    limit: Number


class FindingItem(BaseModel):
    """One finding. `first_step` is the first evidence, `raised_step` the last step received when it was raised.

    As long as it is open, `severity` is that of the worst that follows from it, and `cause` is the nearest that nobody
    muted; a muted one has none.
    """

    id: str
    code: str
    name: str
    severity: SeverityName
    state: Literal["open", "resolved"]
    acknowledged: bool
    muted: bool
    first_step: int
    raised_step: int
    last_step: int
    resolved_step: int | None
    attempt: int = Field(description="counts trainings from 1; 0 and below are preflights")
    layers: list[str]
    ranks: list[int]
    message: str
    evidence: EvidenceItem
    advice: str
    cause: str | None = Field(description="id of the finding that explains this one")
    rule_version: int
    params: dict[str, Plain]

    @classmethod
    def of(cls, finding: Finding) -> FindingItem:
        """Makes it from a finding."""
        values = {name: getattr(finding, name) for name in cls.model_fields}
        values["evidence"] = asdict(finding.evidence)
        values["cause"] = None if finding.cause is None else str(finding.cause)
        return cls.model_validate(values)


class FindingPage(BaseModel):
    """One page of findings."""

    items: list[FindingItem]
    next: str | None


class FindingChange(BaseModel):
    """What may be changed of a finding; what is left out stays."""

    model_config = ConfigDict(extra="forbid", strict=True)

    acknowledged: bool | None = None
    muted: bool | None = None
    who: Annotated[OneLine, Field(max_length=500)] = ""
    reason: Annotated[OneLine, Field(max_length=500)] = ""

    def actions(self) -> list[str]:
        """Names what is done, for the remarks of the run."""
        words = {"acknowledged": ("acknowledged", "no longer acknowledged"), "muted": ("muted", "unmuted")}
        said = {name: getattr(self, name) for name in words}
        return [words[name][0 if value else 1] for name, value in said.items() if value is not None]
