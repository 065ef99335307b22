"""Finds the ends that a chain of like blocks leaves over: the last block's layer whose output nobody uses.

In N-BEATS, WaveNet and many graph networks every block hands something on, and the last one's has no taker. The same
code learns in all blocks before it. Not for: what the loss does not reach for another reason (graph).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

MOST = 0.25  # of the numbers that are trained: more than that is no end


def left_over(shapes: Mapping[str, Sequence[int]], unreached: Iterable[str], unused: Sequence[str],
              called: Sequence[str]) -> list[str]:  # fmt: skip
    """Lists the parameters of such layers; `unused` are layers that ran for nothing, `called` those that ran, in
    order."""
    cut = set(unreached)
    apart, order = set(unused), {layer: at for at, layer in enumerate(called)}
    found = [name for name in cut if _layer(name) in apart and _is_end(name, shapes, cut, order)]
    total = sum(math.prod(shape) for shape in shapes.values())
    return sorted(found) if sum(math.prod(shapes[name]) for name in found) <= MOST * total else []


def _is_end(name: str, shapes: Mapping[str, Sequence[int]], cut: set[str], order: Mapping[str, int]) -> bool:
    """Says whether a parameter is the last of its kind, all others learn, and something else of its block does."""
    parts = name.split(".")
    for at, part in enumerate(parts[:-1]):
        if not part.isdigit():
            continue
        head, tail = parts[:at], parts[at + 1 :]
        like = [
            (int(other[at]), label)
            for label, other in ((label, label.split(".")) for label in shapes)
            if label != name
            and len(other) == len(parts)
            and (other[:at], other[at + 1 :]) == (head, tail)
            and other[at].isdigit()
            and list(shapes[label]) == list(shapes[name])
        ]
        if not like or any(label in cut or index >= int(part) for index, label in like):
            continue
        before = order.get(_layer(max(like)[1]), -1)
        if any(_beside(label.split("."), head, part, before, order) for label in shapes if label not in cut):
            return True
    return False


def _beside(other: list[str], head: list[str], index: str, before: int, order: Mapping[str, int]) -> bool:
    """Says whether a parameter that learns is of the same block: below it, or of this number in a list beside it,
    called after the block before."""
    at = len(head)
    if len(other) <= at + 1 or other[at] != index or other[: max(at - 1, 0)] != head[: max(at - 1, 0)]:
        return False
    return other[:at] == head or order.get(".".join(other[:-1]), -1) > before


def _layer(name: str) -> str:
    return name.rpartition(".")[0]
