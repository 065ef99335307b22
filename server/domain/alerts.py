"""Channels that people are told by, what is told (`News`), and what became of it (`Delivery`)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from server.domain.findings import Severity
from server.domain.runs import RunState

SILENCE_CODES = frozenset({"GW503"})  # the finding run-silent: the state of the run tells it


class ChannelKind(StrEnum):
    """Where a channel leads to."""

    WEBHOOK = "webhook"
    SLACK = "slack"
    DISCORD = "discord"
    TEAMS = "teams"
    NTFY = "ntfy"
    MAIL = "mail"


class DeliveryState(StrEnum):
    """What became of a piece of news on a channel."""

    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given up"


class Turn(StrEnum):
    """A change of a run's state that is told: it broke, it is not heard of, or it ended as it should."""

    BROKE = "broke"
    QUIET = "quiet"
    ENDED = "ended"


TURNS = {
    RunState.FAILED: Turn.BROKE,
    RunState.CRASHED: Turn.BROKE,
    RunState.SILENT: Turn.QUIET,
    RunState.STUCK: Turn.QUIET,
    RunState.FINISHED: Turn.ENDED,
    RunState.STOPPED: Turn.ENDED,
}


@dataclass(frozen=True)
class Draft:
    """A channel as somebody wishes it. `projects` and `tags`: any of them; none means all. `ends`: tell ends too."""

    name: str
    kind: ChannelKind
    address: str
    secret: str = ""
    severity: Severity = Severity.ERROR
    projects: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    ends: bool = False

    def __repr__(self) -> str:
        """Names it without what only its receiver may know."""
        return f"{type(self).__name__}({self.name!r}, {self.kind.value})"


@dataclass(frozen=True, repr=False)
class Channel(Draft):
    """A channel that is stored."""

    id: int = 0
    active: bool = True
    created_ms: int = 0

    def wants(self, project: str, tags: tuple[str, ...]) -> bool:
        """Whether it is about a run of this project with these tags."""
        return (not self.projects or project in self.projects) and (not self.tags or bool({*self.tags} & {*tags}))


@dataclass(frozen=True)
class News:
    """What is told of a run, in words that were settled when it was first sent; foreign text as it came."""

    event: str  # "finding", a state of the run, or "test"
    severity: Severity
    project: str = ""
    run_id: str = ""
    run: str = ""
    step: int = -1
    code: str = ""
    name: str = ""
    number: int = 0  # of the finding
    message: str = ""
    advice: str = ""
    first_step: int = -1
    last_step: int = -1
    symptoms: int = 0  # findings that follow from it, and are not told
    at_ms: int = 0

    def dump(self) -> str:
        """Gives it as JSON."""
        return json.dumps({**asdict(self), "severity": self.severity.value})

    @classmethod
    def load(cls, text: str) -> News:
        """Reads what `dump` gave."""
        told = json.loads(text)
        return cls(**{**told, "severity": Severity(told["severity"])})


@dataclass(frozen=True)
class Due:
    """One delivery that this process has to try now; `mark` is the same at every try."""

    id: int
    channel: Channel
    news: News
    mark: str
    tries: int
    created_ms: int


@dataclass(frozen=True)
class Delivery:
    """One line of the list of deliveries."""

    id: int
    channel: int
    event: str
    run_id: str
    state: DeliveryState
    tries: int
    reason: str
    created_ms: int
    due_ms: int
    sent_ms: int | None
    news: News | None
