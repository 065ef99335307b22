"""Turns what an engine raised into findings that the store can keep, and says what a session found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from server.diagnosis.lifecycle import Raised
from server.domain.findings import CheckResult, Evidence, Finding
from server.rules.registry import Registry

JUDGED_RANK = 0


@dataclass(frozen=True)
class Outcome:
    """What a session found: the findings to save, what became of each rule, how far it came, and the verdict in
    one sentence."""

    changed: tuple[Finding, ...]
    checks: tuple[CheckResult, ...]
    step: int
    verdict: str


@dataclass(frozen=True)
class Stored:
    """Makes the findings of one run; `params` are the thresholds with which each rule judged, by code."""

    run_id: str
    registry: Registry
    params: Mapping[str, Any]

    def finding(
        self, number: int, attempt: int, item: Raised, *, cause: int | None, before: Finding | None, closed: bool
    ) -> Finding:
        """Makes one, with what people did to it `before`.

        A finding of an attempt that another one follows (`closed`) is history: the newest says whether it still holds.
        """
        info = self.registry.get(item.code)
        name, version = (info.name, info.version) if info else (item.code, 1)
        verdict = item.verdict
        resolved = item.last_step if closed and item.open else item.resolved_step
        return Finding(
            run_id=self.run_id,
            number=number,
            code=item.code,
            name=name,
            rule_version=version,
            severity=verdict.severity,
            state="open" if resolved is None else "resolved",
            first_step=verdict.first_step,
            raised_step=item.raised_step,
            last_step=item.last_step,
            message=verdict.message,
            advice=verdict.advice,
            layers=verdict.layers,
            ranks=verdict.ranks or (JUDGED_RANK,),
            evidence=_storable(verdict.evidence),
            params=asdict(self.params.get(item.code) or info.rule.Params()) if info else {},
            attempt=attempt,
            cause=cause,
            acknowledged=before.acknowledged if before else False,
            muted=before.muted if before else False,
            resolved_step=resolved,
        )


def same(before: Finding | None, now: Finding) -> bool:
    """Says whether a finding is as it was saved; what people did to it does not count."""
    return before is not None and replace(before, acknowledged=now.acknowledged, muted=now.muted) == now


def _storable(evidence: Evidence) -> Evidence:
    """Moves numbers that JSON cannot hold to the texts, and turns NumPy's numbers into Python's."""
    numbers = {name: float(value) for name, value in evidence.numbers.items()}
    lost = {name: str(value) for name, value in numbers.items() if not math.isfinite(value)}
    limit = evidence.limit
    return Evidence(
        {name: value for name, value in numbers.items() if name not in lost},
        {**dict(evidence.strings), **lost},
        tuple(evidence.series),
        float(limit) if limit is not None and math.isfinite(limit) else None,
    )
