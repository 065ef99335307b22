"""What the ingest hands to the store: a frame whose names, steps and records were checked. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from server.domain.series import Steps
from server.store.blocks import Values


@dataclass(frozen=True)
class AcceptedGroup:
    """Holds series that were measured at the same steps; values have the shape (columns, steps), f4 or f8."""

    columns: tuple[str, ...]
    steps: Steps
    times_ms: Steps
    values: Values

    def keep(self, admitted: frozenset[str]) -> AcceptedGroup | None:
        """Leaves out all columns but some; None if nothing is left."""
        positions = [index for index, name in enumerate(self.columns) if name in admitted]
        if not positions:
            return None
        return replace(self, columns=tuple(self.columns[i] for i in positions), values=self.values[positions])


@dataclass(frozen=True)
class AcceptedRecord:
    """Holds a fact, event or status; `text` is its value as JSON."""

    kind: str
    name: str
    step: int
    time_ms: int
    value: Any
    text: str


@dataclass(frozen=True)
class AcceptedFrame:
    """Holds a frame whose values were checked; `attempt` is the hook's own id of it."""

    run_id: str
    attempt: str
    rank: int
    seq: int
    crc: int
    complete: int
    received_ms: int
    groups: tuple[AcceptedGroup, ...] = ()
    records: tuple[AcceptedRecord, ...] = ()
