"""Reads what several processes say of their gradients and weights. Not for: judging; the rules of chapter 9 do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated
from server.domain.kinds import Kind
from server.domain.ranks import fact_of, ranks_in

REDUCED = "reduced"  # how the fact `gradient_meaning` begins under DistributedDataParallel
WEIGHTS = f"/{Kind.PARAM_WEIGHT_NORM.value}"


def reduced(fact: Mapping[str, Any]) -> bool:
    """Says whether a rank's gradients are the mean over all ranks."""
    said = [str(item.get("reduction", "")) for item in fact.values() if isinstance(item, Mapping)]
    return bool(said) and all(word.startswith(REDUCED) for word in said)


def ranks_of_one_model(window: Window, otherwise: str) -> list[int] | NotEvaluated:
    """Lists the ranks of one DistributedDataParallel; `otherwise` says why the rule judges no others."""
    ranks = ranks_in(window)
    if len(ranks) < 2:
        return NotEvaluated("the training is one process")
    if not all(reduced(fact_of(window, rank, "gradient_meaning")) for rank in ranks):
        return NotEvaluated(otherwise, "monitor = watch(ddp_model, optimizer)  # the wrapped model")
    return ranks


def parameters_compared(window: Window) -> list[str]:
    """Lists the weights whose norms any rank sent."""
    found = [subject.partition(WEIGHTS)[2] for subject in window.names(Kind.RANK)]
    return list(dict.fromkeys(name for name in found if name))
