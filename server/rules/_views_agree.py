"""Finds views of one input that were brought to the same answer, by the operations of the loss: minus their cosine,
with a gradient on either side, and nothing that keeps unlike inputs apart (a part of constant-output).

Not for: vectors whose spread is measured (constant_output); a side that holds still has no gradient, and is no case.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile

from server.domain.evidence import Window
from server.domain.findings import Severity, Verdict
from server.domain.statistics import med
from server.rules._loss_call import SAME_VALUES, own_operations
from server.rules._say import percent, say

FEWEST = 40  # losses
AGREED = 0.9  # of what a cosine of 1 gives
OVER = 1e-3  # rounding beyond that
_AVERAGED = ("Neg", "Mean", "Sum", "Add", "Mul", "Div", "Rsub", *SAME_VALUES)


def views_agree(window: Window) -> Verdict | None:
    """Judges at the end, when the cosine is all but 1."""
    loss = window.loss
    if not window.final or loss.count < FEWEST or window.gates.moving_target:
        return None
    own = own_operations(window)
    if not _either_side_learns(own):
        return None
    start, now = med(loss.values[:5]), med(loss.tail(20))
    share = _share(start, now, any(name.startswith("Rsub") for name in own))
    if not share >= AGREED:
        return None
    return say(
        Severity.WARNING,
        "The loss asks only that two outputs for the same input point the same way, both sides learn, and they agree "
        f"to {percent(share)} (a loss of {start:.3g} became {now:.3g}): nothing keeps unlike inputs apart, and one "
        "answer for every input is the best one",
        "Hold one side still, z.detach() behind a predictor (SimSiam, BYOL); or push unlike inputs apart with "
        "negatives or a variance term.",
        numbers={"share": share, "start": start, "now": now},
        series=("loss",),
        limit=AGREED,
        at_once=False,
        exact=False,
    )


def _either_side_learns(operations: Sequence[str]) -> bool:
    """Says whether a loss is an average of sums of products of two vectors of length 1, both with a gradient, all of
    one sign."""
    last = max((at for at, name in enumerate(operations) if name.startswith("SumBackward")), default=-1)
    before, behind = operations[: last + 1], operations[last + 1 :]
    products = sum(1 for _ in takewhile(lambda name: name.startswith("Mul"), behind))
    lengths = sum(1 for _ in takewhile(lambda name: name.startswith("Div"), behind[products:]))
    if not products or lengths != 2 * products or not all(name.startswith(_AVERAGED) for name in before):
        return False
    signs = [at for at, name in enumerate(before) if name.startswith(("Neg", "Rsub"))]
    sums = [at for at, name in enumerate(before) if name.startswith("Add")]
    return len(signs) == products or (len(signs) == 1 and (not sums or signs[0] < sums[0]))


def _share(start: float, now: float, from_above: bool) -> float:
    """Gives how much of the agreement that is possible was reached: a loss of 1 - cosine falls to 0 from where it
    began, minus a cosine, or a sum of them, to a whole number below 0."""
    if from_above:
        return 1 - now / start if start > 0 else 0.0
    return -now / max(1.0, math.ceil(-now - OVER)) if now < 0 else 0.0
