"""Turns a rule's answers at successive evaluations into findings: when one opens, what it remembers, when it
resolves."""

from __future__ import annotations

from collections.abc import Hashable
from copy import copy
from dataclasses import dataclass, replace
from functools import cache
from typing import TypedDict

from server.domain.findings import CheckResult, NotEvaluated, Severity, Verdict
from server.rules.base import Rule, Stage

COOL_DOWN = 10  # times m: quiet evaluations after a resolved finding before a statistical rule opens another


@dataclass(frozen=True)
class Raised:
    """A finding as the engine knows it; `order` tells several of one rule apart. It gets its number where it is
    saved."""

    code: str
    order: int
    verdict: Verdict
    raised_step: int
    last_step: int
    first_sample: int
    stage: Stage
    exact: bool
    resolved_step: int | None = None
    cause: tuple[str, int] | None = None
    aside: bool = False  # a fact about the setting: see Rule.aside
    lifted: bool = False  # an info that is a warning as long as it is a cause

    @property
    def key(self) -> tuple[str, int]:
        """Names it within its attempt."""
        return self.code, self.order

    @property
    def open(self) -> bool:
        """Says whether it holds."""
        return self.resolved_step is None


class _Place(TypedDict):
    stage: Stage
    exact: bool
    aside: bool


@dataclass(slots=True)
class Course:
    """Follows one rule through a run."""

    rule: Rule
    recent: tuple[bool, ...] = ()  # the newest answers; a tuple, because ten thousand runs have a hundred courses each
    quiet: int = 0
    cool_down: int = 0
    judged: int = 0
    failures: int = 0
    missing: NotEvaluated | None = None
    raised: tuple[Raised, ...] = ()  # a tuple for the same reason
    still_at: Hashable = None  # the edition of the evidence for which it says `still`: nothing that it looks at moves
    still: NotEvaluated | None = None
    moved_at: Hashable = None  # the edition for which it is known to look at what moves
    result: CheckResult | None = None  # what became of it
    basis: object = None  # from what that was read

    @property
    def open(self) -> Raised | None:
        """The open finding of this rule."""
        if not self.raised:
            return None
        newest = self.raised[-1]
        return newest if newest.resolved_step is None else None

    @property
    def calm(self) -> bool:
        """Says whether nothing was found lately, so that a quiet answer now stands for those that were left out."""
        return True not in self.recent and self.open is None

    def rest(self, count: int) -> None:
        """Notes so many evaluations of a calm rule of which the last was quiet; the others were left out."""
        self.judged += 1
        self.missing = None
        of = self.rule.persistence[1]
        if len(self.recent) < of:
            self.recent = _quiet(min(len(self.recent) + count, of))
        if self.cool_down:
            self.cool_down = max(0, self.cool_down - count)

    def copy(self) -> Course:
        """Gives a copy that can go on by itself: what is tried on it does not touch this one."""
        return copy(self)

    def miss(self, why: NotEvaluated) -> None:
        """Notes that the rule could not judge; an open finding stays as it is."""
        self.missing = why

    def judge(self, verdict: Verdict | None, *, holds: bool, step: int, sample: int, final: bool) -> bool:
        """Notes an evaluation; True when a finding opened, grew worse or resolved.

        `holds` says that an open finding still holds at its relaxed limits, where `verdict` is None.
        """
        self.judged += 1
        self.missing = None
        needed, of = self.rule.persistence
        self.recent = (*self.recent, verdict is not None)[-of:]
        if self.open is not None:
            return self._follow(self.open, verdict, holds=holds, step=step)
        self.cool_down = max(0, self.cool_down - 1)
        if verdict is None:
            return False
        if verdict.at_once or final or (sum(self.recent) >= needed and not self.cool_down):
            self._raise(verdict, step, sample)
            return True
        return False

    def _raise(self, verdict: Verdict, step: int, sample: int) -> None:
        self.quiet = 0
        raised = Raised(
            self.rule.code,
            len(self.raised),
            verdict,
            raised_step=step,
            last_step=step,
            first_sample=sample,
            **self._place(verdict),
        )
        self.raised = (*self.raised, raised)

    def _place(self, verdict: Verdict) -> _Place:
        """Says where a verdict stands between cause and symptom."""
        return {
            "stage": self.rule.stage if verdict.stage is None else Stage(verdict.stage),
            "exact": self.rule.exact if verdict.exact is None else verdict.exact,
            "aside": self.rule.aside if verdict.aside is None else verdict.aside,
        }

    def _follow(self, current: Raised, verdict: Verdict | None, *, holds: bool, step: int) -> bool:
        if verdict is not None or holds:
            self.quiet = 0
            kept = current.verdict
            worse = False
            if verdict is not None:
                worse = verdict.severity.rank > kept.severity.rank
                grown = tuple(dict.fromkeys((*kept.layers, *verdict.layers)))
                kept = replace(
                    verdict,
                    severity=_worst(kept.severity, verdict.severity),
                    first_step=min(kept.first_step, verdict.first_step),
                    layers=grown,
                )
                place = self._place(verdict)  # what it says now
                current = replace(current, **place) if worse else replace(current, aside=place["aside"])
            lifted = current.lifted and (verdict is None or verdict.severity is Severity.INFO)
            self.raised = (*self.raised[:-1], replace(current, verdict=kept, last_step=step, lifted=lifted))
            return worse
        self.quiet += 1
        if self.rule.clears_after is None or self.quiet < self.rule.clears_after:
            return False
        self.raised = (*self.raised[:-1], replace(current, resolved_step=step))
        self.quiet = 0
        self.cool_down = COOL_DOWN * self.rule.persistence[1]
        return True


def _worst(one: Severity, other: Severity) -> Severity:
    return one if one.rank >= other.rank else other


@cache
def _quiet(count: int) -> tuple[bool, ...]:
    return (False,) * count
