"""Holds frames on their way to a server, and remembers which of them it has.

Not for: where they wait (client_hook.spool, client_hook.journal).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Parcel:
    """Holds one frame on its way: its bytes and what the sender must know of them."""

    data: bytes
    seq: int
    values: int
    final: bool = False
    filler: bool = False


class Acknowledged:
    """Remembers which seqs a server has; compact, because they come almost in order."""

    def __init__(self, below: int = 0, beyond: set[int] | None = None) -> None:
        self.below = below
        self.beyond = beyond or set()

    def add(self, seq: int) -> bool:
        """Adds a seq; tells whether it is new."""
        if seq in self:
            return False
        self.beyond.add(seq)
        while self.below in self.beyond:
            self.beyond.discard(self.below)
            self.below += 1
        return True

    def __contains__(self, seq: int) -> bool:
        return seq < self.below or seq in self.beyond
