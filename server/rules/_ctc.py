"""Knows mistakes in what ctc_loss is given: it takes logarithms of probabilities, (time, samples, classes).

Not for: the loss that becomes negative by them (loss-constant-or-zero).
"""

from __future__ import annotations

from collections.abc import Sequence

from server.domain.evidence import Window
from server.domain.findings import Evidence, Severity, Verdict
from server.rules._loss_call import SAME_VALUES, call_operations, raw_scores
from server.rules._say import say

DIMENSIONS = 3  # time, samples, classes
VIEWS = (*SAME_VALUES, "Transpose", "Permute")


def mistake_of_ctc(window: Window) -> Verdict | None:
    """Looks at what CTC is given: scores of a weighted layer, a softmax without its logarithm, or logarithms that sum
    to one over the samples or the time, which are first, and not over the classes."""
    operations = call_operations(window)
    at = next((at for at, name in enumerate(operations) if name.startswith(("CtcLoss", "CudnnCtcLoss"))), None)
    behind = [name for name in operations[at + 1 :] if not name.startswith(VIEWS)] if at is not None else []
    if not behind:
        return None
    if behind[0].startswith("Softmax"):
        return _OF_SHARES
    over = [list(map(int, item)) for item in window.fact("graph").get("log_softmaxes") or ()]
    if behind[0].startswith("LogSoftmax") and len(over) == 1 and over[0][0] == 0 and len(over[0]) == 1 + DIMENSIONS:
        return _over_the_first(over[0][1:])
    return _OF_SCORES if raw_scores(behind) else None


def _over_the_first(shape: Sequence[int]) -> Verdict:
    sizes = "×".join(map(str, shape))
    return say(
        Severity.ERROR,
        f"ctc_loss gets a log-softmax of {sizes} scores over dimension 0, its {shape[0]} samples or time steps, and "
        f"not over the {shape[-1]} classes: the classes of one place do not sum to 1",
        "Call scores.log_softmax(2), over the classes, which come last.",
        numbers={"summed": shape[0], "classes": shape[-1]},
        series=("loss",),
        limit=0.0,
    )


_OF_SCORES = Verdict(
    severity=Severity.ERROR,
    first_step=0,
    message=(
        "ctc_loss got raw scores where logarithms of probabilities belong: the larger all scores are, the smaller is "
        "the loss, which may fall below 0"
    ),
    advice="Call ctc_loss(scores.log_softmax(2), …).",
    evidence=Evidence(strings={"operations": "ctc_loss(x), and no log_softmax before it"}, series=("loss",)),
    at_once=True,
)
_OF_SHARES = Verdict(
    severity=Severity.ERROR,
    first_step=0,
    message=(
        "ctc_loss got what a softmax gave, where logarithms of probabilities belong: numbers between 0 and 1 count as "
        "logarithms, the loss is below 0 and hardly teaches"
    ),
    advice="Call ctc_loss(scores.log_softmax(2), …), in place of softmax.",
    evidence=Evidence(strings={"operations": "ctc_loss(softmax(x))"}, series=("loss",)),
    at_once=True,
)
