"""Knows which values a last operation can give, and judges targets of a squared or absolute error that somebody wrote
by what its graph kept of them (a part of GW212).

Not for: the targets of PyTorch's own loss functions (output_activation_mismatch).
"""

from __future__ import annotations

from collections.abc import Mapping

from server.domain.evidence import Window
from server.domain.findings import Severity, Verdict
from server.rules._loss_call import Spread, spread_of
from server.rules._say import percent, say

REACH = {"Relu": "[0, ∞)", "Sigmoid": "[0, 1]", "Softmax": "[0, 1]", "Tanh": "[−1, 1]"}


def beyond(values: Spread) -> dict[str, float | None]:
    """Gives, for each last operation, the share of values that it cannot give."""
    return {
        "Relu": values.negative,
        "Sigmoid": values.outside_unit,
        "Softmax": values.outside_unit,
        "Tanh": values.outside_symmetric,
    }


def out_of_reach(operation: str, place: str, targets: Spread, outside: float) -> tuple[str, str]:
    """Says that a share of the targets lies out of reach, and what to do."""
    message = (
        f"{percent(outside)} of the targets (from {targets.least:.3g} to {targets.most:.3g}) lie out of "
        f"reach: the last operation is a {operation.lower()}{place}, which gives {REACH[operation]}"
    )
    advice = (
        f"Remove the {operation.lower()}{place} from the end of the model, or scale the targets into "
        f"{REACH[operation]} and scale predictions back."
    )
    return message, advice


def in_own_error(window: Window, limit: float, batches: int) -> Verdict | None:
    """Judges such a loss by `own_targets` of the fact `graph`; None where it is none, or its targets can be reached."""
    fact = window.fact("graph").get("own_targets")
    if not isinstance(fact, Mapping) or (int(fact.get("batches") or 0) < batches and not window.final):
        return None
    operation, targets = str(fact.get("operation")), spread_of(fact.get("target"))
    outside = beyond(targets).get(operation)
    if outside is None or outside <= limit:
        return None
    message, advice = out_of_reach(operation, "", targets, outside)
    return say(
        Severity.ERROR,
        message,
        advice,
        numbers={"batches": float(fact.get("batches") or 0), "outside": outside},
        strings={"operation before the loss": operation},
        series=("loss",),
        limit=limit,
    )
