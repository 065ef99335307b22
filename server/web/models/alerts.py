"""Shapes what is said and asked about channels; addresses go out without what only their receivers may know."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from server.alerts.channels import MOST_NAMES, masked
from server.domain.alerts import Channel, Delivery, DeliveryState
from server.web.models.values import OneLine, SeverityName

KindName = Literal["webhook", "slack", "discord", "teams", "ntfy", "mail"]
StateName = Literal["waiting", "sent", "given up"]
Names = Annotated[list[Annotated[OneLine, Field(max_length=200)]], Field(max_length=MOST_NAMES)]


class NewChannel(BaseModel):
    """A channel that somebody wishes for. `projects` and `tags`: runs with one of them; none means all.

    `ends`: tell of runs that finished or were stopped too. `secret` is for webhook (signature) and ntfy (token).
    """

    model_config = ConfigDict(extra="forbid")
    kind: KindName
    address: Annotated[OneLine, Field(max_length=2_000)]
    name: Annotated[OneLine, Field(max_length=100)] = ""
    secret: Annotated[OneLine, Field(max_length=200)] = ""
    severity: SeverityName = "error"
    projects: Names = []
    tags: Names = []
    ends: bool = False


class ChannelItem(BaseModel):
    """One channel; `address` ends at its host, unless it is one of e-mail."""

    id: int
    kind: KindName
    name: str
    address: str
    has_secret: bool
    severity: SeverityName
    projects: list[str]
    tags: list[str]
    ends: bool
    active: bool
    created_ms: int

    @classmethod
    def of(cls, item: Channel) -> ChannelItem:
        """Makes it of the domain's."""
        return cls(
            id=item.id,
            kind=item.kind.value,
            name=item.name,
            address=masked(item),
            has_secret=bool(item.secret),
            severity=item.severity.value,
            projects=list(item.projects),
            tags=list(item.tags),
            ends=item.ends,
            active=item.active,
            created_ms=item.created_ms,
        )


class ChannelList(BaseModel):
    """All channels, the oldest first."""

    items: list[ChannelItem]


class TestItem(BaseModel):
    """What became of a test within some seconds: `waiting` with a reason is tried again."""

    state: StateName
    reason: str

    @classmethod
    def of(cls, item: Delivery | None) -> TestItem:
        """Makes it of the domain's."""
        if item is None:
            return cls(state=DeliveryState.GIVEN_UP.value, reason="the channel was removed")
        return cls(state=item.state.value, reason=item.reason)
