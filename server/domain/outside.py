"""Reads values that came from outside and may be anything: what is of another kind counts as nothing.

Not for: frames and records as they arrive (server.ingest), which are refused with a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LARGEST = 2**63


def mapping(value: Any) -> Mapping[str, Any]:
    """Gives a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def number(value: Any) -> float:
    """Gives a number, else NaN; a whole number that no database holds is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    return math.nan if isinstance(value, int) and abs(value) > LARGEST else float(value)
