"""What a rule says (`Verdict`, `NotEvaluated`), what becomes of it (`Finding`), and how bad it is (`Severity`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How bad a finding is; ordered by `rank`."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """0 for info, 1 for warning, 2 for error."""
        return ("info", "warning", "error").index(self.value)


@dataclass(frozen=True)
class Evidence:
    """Proves a finding: numbers and texts by name, the series to draw, and the limit that was crossed."""

    numbers: Mapping[str, float] = field(default_factory=dict)
    strings: Mapping[str, str] = field(default_factory=dict)
    series: tuple[str, ...] = ()
    limit: float | None = None


@dataclass(frozen=True)
class Verdict:
    """Says that a rule's condition holds now. `message` and `advice` are ready to read.

    `first_step` is the step of the first evidence; `ranks` are those concerned (none: the one that is judged);
    `at_once` skips the rule's persistence (exact facts). `stage`, `exact` and `aside` take the place of the rule's own
    where one rule says both causes and symptoms, or what can cause but little. `explains` names the rules
    whose findings follow from this one, however much later they come; where it is only an info, it becomes a warning,
    and their cause, once one of them has nothing better to follow from.
    """

    severity: Severity
    first_step: int
    message: str
    advice: str
    layers: tuple[str, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)
    at_once: bool = False
    ranks: tuple[int, ...] = ()
    stage: int | None = None
    exact: bool | None = None
    aside: bool | None = None
    explains: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NotEvaluated:
    """Says that a rule could not judge: why, and the one line that would enable it ("" if nothing would)."""

    reason: str
    remedy: str = ""


@dataclass(frozen=True)
class Finding:
    """One finding of a run, as it is stored and shown; `number` counts within the run."""

    run_id: str
    number: int
    code: str
    name: str
    rule_version: int
    severity: Severity
    state: str
    first_step: int
    raised_step: int
    last_step: int
    message: str
    advice: str
    layers: tuple[str, ...] = ()
    ranks: tuple[int, ...] = (0,)
    evidence: Evidence = field(default_factory=Evidence)
    params: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 1
    cause: int | None = None
    acknowledged: bool = False
    muted: bool = False
    resolved_step: int | None = None
    lifted: bool = False  # told as severe as the worst that follows from it (server.domain.told); never stored
    behind: str = ""  # the muted cause that it is told without, as "GW308 dead-relu"; never stored

    @property
    def id(self) -> str:
        """The id that the API and the pages use."""
        return str(self.number)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What became of one rule on one run: `passed`, `found` or `not-evaluated`, with the reason and remedy."""

    code: str
    outcome: str
    reason: str = ""
    remedy: str = ""
