"""Sends what preflight finds to the run: each result as an event as it comes, and all of it as a fact at the end.

The outbox of the hook does it: with no server everything waits in the spool, for `gradwatch sync`.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from client_hook.capture import secrets
from client_hook.identity import Identity, upcoming, uuid7
from client_hook.outbox import Outbox
from client_hook.preflight.results import CheckResult, Report
from client_hook.preflighted import Record
from client_hook.records import plain
from client_hook.settings import Settings

BEFORE_START = -1
FINISH_S = 5.0


class Sending:
    """One attempt of a run that holds nothing but a preflight; the server does not count it among the trainings."""

    def __init__(
        self,
        settings: Settings,
        run_id: str | None,
        name: str | None,
        config: Any,
        transport: Any,
        joins: str | None = None,
    ) -> None:
        # the environment's attempt, and the place among the monitors of the process, are those of `watch`
        identity = replace(Identity.make(run_id, ordinal=upcoming(), joins=joins), attempt=uuid7())
        values = config if isinstance(config, dict) else getattr(config, "__dict__", None) or {}
        opening = {
            "name": None if name is None else str(name),
            "tags": [],
            "first_step": 0,
            "config": plain(secrets.mask(dict(values))),
            "preflight": True,
        }
        self.run_id = identity.run_id
        self._outbox = Outbox(identity, replace(settings, system=False), opening, transport=transport)
        self.url = self._outbox.url
        self._outbox.start()

    def tell(self, result: CheckResult) -> None:
        """Sends one result with its curves."""
        self._outbox.record("event", "preflight", BEFORE_START, asdict(result))

    def finish(self, report: Report) -> bool:
        """Sends the whole without curves, which rules read; True when a server has it all."""
        self._outbox.record("fact", "preflight", BEFORE_START, fact_of(report))
        return self._outbox.finish("finished", FINISH_S)

    def fail(self, error: BaseException) -> None:
        """Ends the run where preflight itself was stopped or could not begin."""
        stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
        self._outbox.finish(
            "stopped" if stopped else "failed", FINISH_S, {"exception": f"{type(error).__name__}: {error}"}
        )


def fact_of(report: Report) -> dict[str, Any]:
    """Describes a report without its curves."""
    return {
        "results": [{**asdict(result), "curves": sorted(result.curves)} for result in report.results],
        "left_out": [asdict(item) for item in report.left_out],
        "seconds": report.seconds,
        "worst": report.worst,
        "run": report.run_id,
    }


def records_of(report: Report) -> list[Record]:
    """Lists all that a preflight says, for the run of the training that follows."""
    events: list[Record] = [("event", "preflight", asdict(result)) for result in report.results]
    return [*events, ("fact", "preflight", fact_of(report))]
