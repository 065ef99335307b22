"""Reads what attention that is written out (a softmax from each place to every one) lets its places see.

Not for: fused attention and `nn.MultiheadAttention`, which the fact `sight` counts itself.
"""

from __future__ import annotations

from typing import NamedTuple

from server.domain.evidence import Window


class Seen(NamedTuple):
    """What one attention shows its places: earlier ones, later ones, all of them."""

    earlier: bool
    later: bool
    all: bool


def written_out(window: Window) -> list[Seen]:
    """Lists the attentions over the text that the model reads; none where fused attention was heard as well, or where
    one is over another number of places."""
    fact, rows = window.fact("sight"), window.fact("graph").get("sees")
    length = fact.get("length")
    if fact.get("calls") or not isinstance(rows, (list, tuple)):
        return []
    known = [list(row) for row in rows if isinstance(row, (list, tuple)) and len(row) == 3]
    same = bool(known) and all(set(row) <= {0, length} and any(row) for row in known)
    return [Seen(*map(bool, row)) for row in known] if same and length else []


def predicts_next(window: Window, following: float, telling: float) -> bool:
    """Says by the fact `sight` whether the targets are the next tokens, often enough others than those just read."""
    places, found, other = (window.fact("sight").get(key) or 0 for key in ("places", "next", "telling"))
    return bool(found >= following * places and other >= telling * places)
