"""Knows scores of the wrong kind that PyTorch's own loss functions are handed: rates where their logarithms belong,
distances where likeness belongs.

Not for: what the values show (loss-task-mismatch) or the targets (output-activation-mismatch).
"""

from __future__ import annotations

from server.domain.findings import Severity, Verdict
from server.rules._loss_call import LossCall
from server.rules._say import say

POSITIVE = ("Softplus", "Exp", "Relu")
DISTANCES = ("LinalgVectorNorm", "Norm", "Cdist", "EuclideanDist", "Sqrt")
FEWEST = 3  # batches


def rates_as_logarithms(call: LossCall) -> Verdict | None:
    """Looks for a Poisson loss that exponentiates what is made positive before it."""
    plain = call.arguments.get("log_input") is True and call.input.negative == 0
    if call.function != "poisson_nll_loss" or not plain or not call.previous_op.startswith(POSITIVE):
        return None
    what = call.previous_op.removesuffix("Backward0").lower()
    return say(
        Severity.ERROR,
        f"poisson_nll_loss got the output of {what} as the logarithm of a rate: it takes its exponential, so no rate "
        "is ever below 1 and a small step multiplies it",
        f"Pass log_input=False with the {what}; or remove the {what}, and take exp() where you read predictions.",
        layers=(call.last_layer,),
        series=("loss",),
        limit=0.0,
    )


def distances_as_scores(call: LossCall) -> Verdict | None:
    """Looks for distances, which are small where two things are alike, handed over as scores."""
    known = call.function in ("binary_cross_entropy_with_logits", "cross_entropy")
    if not known or not call.previous_op.startswith(DISTANCES) or call.batches < FEWEST or call.input.negative > 0:
        return None
    half = call.function != "cross_entropy"
    return say(
        Severity.ERROR,
        f"{call.function} got distances as scores: they are never negative, and large where two things differ"
        + (", so no probability is below one half" if half else ", so the farthest class counts as the likeliest"),
        "Hand over a bias minus the distance, with a learned scale." if half else "Hand over minus the distances.",
        series=("loss",),
        limit=0.0,
    )
