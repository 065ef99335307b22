"""Reads the mixtures of experts from the fact `experts`: how many rows each expert was given.

Not for: judging (`router-collapse`); the rules about unused parameters leave an idle expert to that one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from server.domain.evidence import Window
from server.domain.series import Floats


def mixtures(window: Window) -> dict[str, Mapping[str, object]]:
    """Lists the mixtures by the name of their list."""
    return {str(name): item for name, item in window.fact("experts").items() if isinstance(item, Mapping)}


def rows_of(item: Mapping[str, object]) -> Floats:
    """Gives the rows of each expert in the newest measured steps."""
    rows = item.get("rows")
    return np.asarray(rows if isinstance(rows, list) else [], float)


def is_experts(window: Window, name: str) -> bool:
    """Says whether a layer or parameter belongs to a mixture that is in use, so that it may wait for its turn."""
    return any(name.startswith(f"{mixture}.") and rows_of(item).sum() > 0 for mixture, item in mixtures(window).items())
