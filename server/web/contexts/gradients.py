"""Says what the gradient values of a run are: how many backwards are summed in them, whether a loss scale is still in
them, what clipped them, and whether they are one process's own. Not for: the values (charts).

The fact comes from a training and may hold anything, so every reader here accepts anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from server.web import formats
from server.web.contexts.findings import Pair

_OF_RANKS = {  # how the fact's `reduction` begins → the words on the chart; one process needs none
    "reduced": "mean over all ranks",
    "local shard": "one rank's shard alone",
    "local": "one rank's own, not reduced",
    "partial": "one rank's summand, not reduced",
    "unknown": "of one rank",
}


def gradient_pairs(meaning: Any) -> tuple[Pair, ...]:
    """Lists what the gradients of each optimizer are."""
    found = [item for item in _optimizers(meaning) if item[1]]
    return tuple(
        Pair(label if len(found) < 2 else f"optimizer {key}: {label}", formats.text(value))
        for key, one in found
        for label, value in _told(one)
    )


def gradient_words(meaning: Any) -> str:
    """Says the same in a line over a chart, where it is not what everybody expects: one backward, whole, as it is."""
    lines = dict.fromkeys(" · ".join(_unusual(one)) for _, one in _optimizers(meaning))
    return "; ".join(line for line in lines if line)


def _told(one: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    backwards = one.get("backwards")
    yield "backwards in a gradient", "not known" if backwards is None else backwards
    yield "loss scale", one.get("scale")
    yield "clipped", one.get("clipped") or "no"
    yield "over the ranks", one.get("reduction")


def _unusual(one: Mapping[str, Any]) -> Iterator[str]:
    backwards = one.get("backwards")
    if isinstance(backwards, int) and backwards > 1:
        yield f"{formats.count(backwards)} backwards summed"
    if one.get("scale") == "still in it":
        yield "times the loss scale"
    if one.get("clipped"):
        yield f"after clipping by {formats.text(one['clipped'])}"
    reduction = formats.text(one.get("reduction"))
    yield from (words for begin, words in _OF_RANKS.items() if reduction.partition(":")[0] == begin)


def _optimizers(meaning: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(meaning, Mapping):
        yield from ((formats.text(key), one) for key, one in meaning.items() if isinstance(one, Mapping))
