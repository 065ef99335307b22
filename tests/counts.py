"""Gives the counts of the reliability tests: small in each run of the suite, the promised ones with `make reliability`.

The code is the same: GRADWATCH_COUNTS=full alone decides.
"""

from __future__ import annotations

import os

FULL = os.environ.get("GRADWATCH_COUNTS") == "full"


def count(small: int, full: int) -> int:
    """Chooses one of the two."""
    return full if FULL else small


def patience(seconds: float) -> float:
    """Gives a limit that catches a hang, twenty times longer where the counts are full."""
    return 20 * seconds if FULL else seconds
