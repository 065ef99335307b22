"""A store whose clock a test moves, for what is told on channels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from server.domain.alerts import ChannelKind, Draft, Due
from server.domain.findings import Finding, Severity
from server.domain.runs import DiagnosisState
from server.store import Store
from server.store.telling import HOLD_MS
from tests.server.house import Clock
from tests.server.store.kit import NOW, RUN, frame, group


class Desk:
    """A store whose clock the test moves, with what a test of alerts does again and again."""

    def __init__(self, url: str, now_ms: int = NOW) -> None:
        self.clock = Clock(now_ms)
        self.url = url
        self.store = Store.open(url, self.clock)
        self.seq = 0

    def channel(self, **more: Any) -> int:
        return self.store.channels.add(
            Draft(**{"name": "ours", "kind": ChannelKind.WEBHOOK, "address": "https://x.example/t", **more})
        )

    def hear(self, *records: Any, run_id: str = RUN, attempt: str = "a1", rank: int = 0) -> None:
        self.store.frames.accept(
            frame(
                self.seq, group({"loss": [1.0]}, [self.seq]), run_id=run_id, attempt=attempt, rank=rank,
                records=records, received_ms=self.clock(),
            )
        )  # fmt: skip
        self.seq += 1

    def save(self, *findings: Finding, run_id: str = RUN) -> None:
        self.store.findings.save(
            run_id, findings=findings, checks=None, diagnosed_step=1, diagnosis=DiagnosisState.LIVE, seen_version=-1,
            verdict="2 problems",
        )  # fmt: skip

    def due(self, owner: str = "me", later_ms: int = HOLD_MS) -> list[Due]:
        """Waits until what is news now is told, and takes all of it."""
        self.clock.now_ms += later_ms
        rounds = range(self.rows() + 1)  # each of a channel has one
        return [due for _ in rounds for due in self.store.alerts.claim(owner, 10)]

    def told(self) -> list[str]:
        """Takes all news, marks them as sent, and gives what each is about."""
        found = self.due()
        for one in found:
            self.store.alerts.sent(one, "me")
        return [one.news.code or one.news.event for one in found]

    def rows(self) -> int:
        return len(self.store.alerts.latest(1_000))


def finding(number: int = 1, code: str = "GW308", severity: str = "error", **more: Any) -> Finding:
    base = Finding(RUN, number, code, "dead-relu", 1, Severity(severity), "open", 3, 5, 9, "Layer a: dead", "Try x")
    return replace(base, **more)
