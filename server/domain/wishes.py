"""What people wish of the diagnosis: other thresholds for a project, silence about a finding, and remarks on one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

EVERY_CODE = "*"


@dataclass(frozen=True)
class Threshold:
    """A threshold as a project wants it from `created_ms` on; a value of None gives the rule's own back."""

    id: int
    project: str
    code: str
    name: str
    value: float | None
    who: str
    reason: str
    created_ms: int


@dataclass(frozen=True)
class Mute:
    """Silence about a rule's findings: in one run or a whole project, in all layers or those of a pattern.

    `expires_ms` is None for a mute that holds until it is taken back.
    """

    id: int
    project: str
    run: str
    code: str
    layers: str
    who: str
    reason: str
    created_ms: int
    expires_ms: int | None

    def covers(self, run: str, code: str, layers: Sequence[str], now_ms: int) -> bool:
        """Says whether it silences a finding; a pattern must fit every layer of it."""
        if self.expires_ms is not None and self.expires_ms <= now_ms:
            return False
        if self.run not in ("", run) or self.code not in (EVERY_CODE, code):
            return False
        return not self.layers or (bool(layers) and all(fnmatchcase(layer, self.layers) for layer in layers))


@dataclass(frozen=True)
class MutedFinding:
    """An open finding that somebody muted by itself, on the page of its run."""

    run_id: str
    run: str
    finding: int
    code: str
    name: str


@dataclass(frozen=True)
class Remark:
    """Something that somebody did to a finding: acknowledged, muted, or took it back."""

    run_id: str
    number: int
    finding: int
    action: str
    who: str
    reason: str
    at_ms: int
