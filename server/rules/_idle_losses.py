"""Finds losses, and parts of one, that ask nothing of the model from the first step on: a number that is compared with
itself, in a part or as a whole, a hinge that has no margin.

Not for: a loss that stands still later (loss-constant-or-zero).
"""

from __future__ import annotations

import math

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Floats
from server.domain.statistics import med
from server.rules._layers import looks_untrained, uses_closures
from server.rules._loss_call import call_operations, own_operations
from server.rules._rewards import any_reward
from server.rules._say import percent, say
from server.rules.base import Stage

FEWEST = 20  # losses
FEWEST_LIVE = 50  # of a part that may yet grow
ROUNDED = 1e-5  # of the first losses: single precision leaves about 1e-7 of a difference of equal numbers
IN_ORDER = 1e-6  # of a loss: what the order of a sum changes in float32
FEWEST_NORMS = 5  # gradients
EITHER_SIGN = 0.1  # of the values, at least: a difference of equal numbers falls to either side of 0
RATIOS = ("Exp", "Minimum", "Div", "Clamp")  # a ratio of policies is 1, its advantages sum to 0, and it has a slope
HINGES = ("Relu", "ClampMin", "ClampBackward", "Maximum", "Threshold")
MANY = 8  # terms of a mean: that all of them are 0 is no chance
OFTEN, STILL = 0.5, 0.25  # of the first losses that are 0, and of all


def compared_with_itself(window: Window) -> Verdict | None:
    """Finds a part of the loss that is the rounding of a difference of equal numbers: tiny, of both signs, and never
    anything else."""
    operations = call_operations(window)
    known = not operations or any(name.startswith(RATIOS) for name in _before_layers(operations))
    fewest = FEWEST if window.final else FEWEST_LIVE
    if known or window.gates.moving_target or any_reward(window.by_layer(Kind.USER)):
        return None
    scale = med(np.abs(window.loss.values[:FEWEST]))
    for name, series in window.by_layer(Kind.LOSS_PART).items():
        values = series.values
        if series.count < fewest or not np.isfinite(values).all():
            continue
        most, signs = float(np.abs(values).max()), (np.count_nonzero(values > 0), np.count_nonzero(values < 0))
        if 0 < most <= ROUNDED * scale and min(signs) >= EITHER_SIGN * series.count:
            return say(
                Severity.ERROR,
                f"Part `{name}` of the loss has never been more than a rounding error: {series.count} values of both "
                f"signs, the largest {most:.2g}. It compares something with itself and teaches nothing",
                f"Look at what `{name}` is computed from: the same tensor stands on both sides (a teacher's answer "
                "where the student's belongs).",
                numbers={"largest": most, "values": series.count},
                series=(f"loss/{name}", "loss"),
                limit=ROUNDED * scale,
                stage=Stage.OUTPUT,
                exact=True,
            )
    return None


def _before_layers(operations: tuple[str, ...]) -> list[str]:
    """Gives the operations down to the function that makes the loss, or to the first layer."""
    found: list[str] = []
    for name in operations:
        if "Loss" in name or name.startswith(("Addmm", "Mm", "Convolution", "LogSoftmax")):
            break
        found.append(name)
    return found


def hinge_without_margin(window: Window) -> Verdict | None:
    """Finds a hinge of one's own over many terms that a model which nobody trained satisfies in most of its first
    batches: nothing is asked beyond what is so already."""
    loss, sizes = window.loss, window.fact("graph").get("reduced")
    inner = [name for name in own_operations(window) if not name.startswith(("Mean", "Sum"))]
    terms = math.prod(int(size) for size in sizes) if isinstance(sizes, (list, tuple)) else 0
    if loss.count < FEWEST or terms < MANY or not inner or not inner[0].startswith(HINGES):
        return None
    idle = loss.values == 0
    first, share = int(np.count_nonzero(idle[:FEWEST])), float(idle.mean())
    if window.gates.finetune or first < OFTEN * FEWEST or share < STILL or not looks_untrained(window):
        return None
    return say(
        Severity.ERROR,
        f"The loss was exactly 0 in {first} of the first {FEWEST} steps, before anything was learned, and in "
        f"{percent(share)} of all {loss.count}: it is a hinge, and asks for no margin",
        "Add a margin inside the hinge, relu(near - far + margin), as wide as the distances that you want: 0.2 for "
        "vectors of length 1.",
        step=int(loss.steps[int(np.argmax(idle))]),
        numbers={"idle_at_first": first, "share": share, "terms": terms},
        series=("loss", "grad_norm"),
        limit=OFTEN,
        stage=Stage.OUTPUT,
        exact=True,
    )


def nothing_but_rounding(window: Window, newest: Floats) -> Verdict | None:
    """Finds a loss that is the same but for its rounding, whatever the batch."""
    return _rounded(window, newest) if _rounding_alone(window, newest) else None


def _rounding_alone(window: Window, newest: Floats) -> bool:
    """Says whether losses differ by their rounding alone, and the gradients that were measured are 0 or of that size
    too, from the first to the last: what differs between batches was subtracted from itself."""
    norms = window.series("grad_norm")
    if len(newest) < FEWEST or norms.count < FEWEST_NORMS or not np.isfinite(newest).all():
        return False
    spread, size, largest = float(np.ptp(newest)), float(np.abs(newest).max()), float(norms.values.max())
    if largest == 0.0:
        return spread <= IN_ORDER * (1 + size) and float(np.ptp(window.loss.values)) <= IN_ORDER * (1 + size)
    return spread <= IN_ORDER * size and 0 <= largest <= IN_ORDER * size and not uses_closures(window)


def _rounded(window: Window, newest: Floats) -> Verdict:
    value, norms = float(newest[-1]), window.series("grad_norm")
    largest = float(norms.values.max())
    gradients = f"no gradient was above {largest:.2g}" if largest else "all gradients are zero"
    operations = window.fact("graph").get("operations")
    off = not largest and any(str(name).startswith("Relu") for name in operations or ())
    return Verdict(
        severity=Severity.ERROR,
        first_step=int(window.loss.steps[0]),
        message=(
            f"The loss is {value + 0.0:.6g} but for its rounding, whatever the batch, and {gradients}: it compares "
            "something with itself" + (", or no unit before a ReLU is ever above 0" if off else "")
        ),
        advice=(
            "Look at what is subtracted or divided: the same tensor may stand on both sides (a ratio to the policy of "
            "now instead of an old one that was detached, a negative that is the positive itself)."
            + (" Print (x > 0).float().mean() behind each ReLU: a bias far below 0 turns all units off." if off else "")
        ),
        evidence=Evidence(numbers={"loss": value, "largest_gradient": largest}, series=("loss", "grad_norm")),
        at_once=True,
        stage=Stage.OUTPUT,
        exact=True,
    )
