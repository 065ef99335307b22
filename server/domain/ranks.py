"""Names what several processes of one training sent, so that one window holds all of it.

Not for: reading it (server.diagnosis.ranks) or judging it (chapter 9 of the rules).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.domain.evidence import Window
from server.domain.kinds import Kind
from server.domain.series import Series

PREFIX = Kind.RANK.value
KINDS = frozenset({Kind.LOSS, Kind.TIME_STEP, Kind.TIME_DATA, Kind.GRAD_NORM, Kind.PARAM_WEIGHT_NORM})
FACTS = frozenset({"inputs", "loss_call", "gradient_meaning", "data", "environment"})
MOST_PARAMETERS = 16  # whose norms are compared between ranks


def name_of(rank: int, name: str) -> str:
    """Names a series or fact of a rank."""
    return f"{PREFIX}{rank}/{name}"


def ranks_in(window: Window) -> list[int]:
    """Lists the ranks that a window knows; one or none where the training is one process."""
    found = {name.partition("/")[0] for name in window.names(Kind.RANK)}
    return sorted(int(rank) for rank in found if rank.isdigit())


def series_of(window: Window, name: str) -> dict[int, Series]:
    """Gives a series of every rank that has it."""
    found = {rank: window.series(name_of(rank, name)) for rank in ranks_in(window)}
    return {rank: series for rank, series in found.items() if series}


def fact_of(window: Window, rank: int, name: str) -> Mapping[str, Any]:
    """Gives a fact of a rank; an empty one while it is not known."""
    return window.fact(name_of(rank, name))
