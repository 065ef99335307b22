"""Looks, at the end of a training, for a loss that is what the best answer without any inputs costs.

That is the entropy of the labels, or the variance of the targets. Not for: a loss that stands still anywhere else
(loss-not-decreasing), or a model that learned its training set alone (nothing-generalises).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from server.domain.evidence import Window
from server.domain.findings import Severity, Verdict
from server.domain.series import Series
from server.domain.statistics import Quarters
from server.rules._loss_call import (
    BINARY,
    CROSS_ENTROPIES,
    LossCall,
    counts_of,
    entropy,
    entropy_error,
    loss_call,
    spread_of,
)
from server.rules._progress import SMALLEST_GAIN, SURE_ERRORS, is_stuck, loss_quarters, still_falling
from server.rules._rates import medians, path_length
from server.rules._say import say
from server.rules._validation import evaluations
from server.rules.base import Stage

FEWEST = 100  # losses of a fair test
NEAR, NEAR_UNSEEN = 0.97, 0.99  # of what such an answer costs; the second where no validation tells
LITTLE = 0.995  # of it: below that in validation, and surely below it in training, something was gained
FAR_ABOVE = 1.1  # times that: something else is wrong
MOST_COMMON = 0.8  # of the labels: then class-imbalance says more
FEWEST_LABELS = 20  # of each class on average
KNOWN = 0.01  # of a guess: how well the labels that were counted must tell it
FEWEST_BATCHES = 8
MOVED = 0.05  # of the weights, over the run: who stays where it began has not tried
WEIGHTS = ("weight", "pos_weight", "label_smoothing")
OTHER_CAUSES = frozenset({"GW201", "GW308", "GW309", "GW312"})


def no_gain(window: Window) -> Verdict | None:
    """Finds a run that ended with the loss of an answer that is the same for every input, and had settled there."""
    parts, call = loss_quarters(window), loss_call(window)
    if not window.final or window.samples < FEWEST or parts is None or call is None or not call.alone:
        return None
    if window.gates.moving_target or parts.count < window.loss.count or OTHER_CAUSES & window.open_codes:
        return None
    steps, ratios = medians(window)
    if len(ratios) and path_length(window, steps, ratios) < MOVED:
        return None
    if call.reduction != "mean" or any(call.arguments.get(name) for name in WEIGHTS):
        return None
    return _of_classes(window, call, parts) or _of_numbers(window, call, parts)


def _of_classes(window: Window, call: LossCall, parts: Quarters) -> Verdict | None:
    labels, count = call.labels, sum(call.labels.values())
    if call.function not in CROSS_ENTROPIES | BINARY or len(labels) < 2 or count < FEWEST_LABELS * len(labels):
        return None
    if max(labels.values()) > MOST_COMMON * count:
        return None
    guess, (lowest, rough) = entropy(labels), _lowest(window)
    error = SURE_ERRORS * entropy_error(labels) + (len(labels) - 1) / (2 * count)  # few labels look less even (Miller)
    if error > KNOWN * guess:
        return None
    noise = SURE_ERRORS * math.hypot(parts.se_last, entropy_error(labels))
    near = (NEAR_UNSEEN if lowest is None else NEAR) * guess
    least = (1 - SMALLEST_GAIN) * min(guess, _guess_of_validation(window, guess)) - min(rough, (1 - NEAR) * guess)
    if not near <= parts.q4 <= max(FAR_ABOVE * guess, guess + noise) or _below(lowest, least):
        return None
    most = min(guess + SURE_ERRORS * error, math.log(len(labels)))  # that such an answer may cost
    there = min(most, _guess_of_validation(window, most) + error)  # its labels may be less even
    if most - parts.q4 > SURE_ERRORS * parts.se_last and (lowest is None or lowest < LITTLE * there):
        return None
    if not is_stuck(parts) and (_falls(parts) or still_falling(parts, window.loss.values)):
        return None
    return _verdict(window, parts, guess, lowest, "the shares of the classes alone")


def _of_numbers(window: Window, call: LossCall, parts: Quarters) -> Verdict | None:
    spread = call.target.std
    if call.function != "mse_loss" or call.broadcast or not spread or call.batches < FEWEST_BATCHES:
        return None
    guess, (lowest, _) = spread**2, _lowest(window)
    unsure = SURE_ERRORS * math.sqrt(2 / max(call.batches * call.batch_size, 1))
    least = max(NEAR - unsure, 0.5) * guess
    seen = least * min(1.0, _variance_of_validation(window, guess) / guess)
    if not is_stuck(parts) or not least <= parts.q4 <= (FAR_ABOVE + unsure) * guess or _below(lowest, seen):
        return None
    return _verdict(window, parts, guess, lowest, "the mean of the targets alone")


def _guess_of_validation(window: Window, guess: float) -> float:
    held = window.fact("loss_call").get("validation")
    counts = counts_of(held.get("label_counts")) if isinstance(held, Mapping) else {}
    return entropy(counts) if counts else guess


def _variance_of_validation(window: Window, guess: float) -> float:
    """Gives what the mean of the training targets gets there, whose targets may differ less from one another; what is
    known of the training where the validation's error was not seen."""
    held = window.fact("loss_call").get("validation")
    targets = spread_of(held.get("target")) if isinstance(held, Mapping) else None
    call = loss_call(window)
    if targets is None or call is None or not targets.std or targets.mean is None or call.target.mean is None:
        return guess
    return targets.std**2 + (targets.mean - call.target.mean) ** 2


def _lowest(window: Window) -> tuple[float | None, float]:
    """Gives the lowest validation loss, and how far below the others it may lie by the noise of one evaluation."""
    found = evaluations(window)
    return (None, 0.0) if found is None else (float(found.values.min()), SURE_ERRORS * found.noise)


def _below(value: float | None, limit: float) -> bool:
    return value is not None and value < limit


def _falls(parts: Quarters) -> bool:
    """Says whether the second half of the run still went down."""
    return parts.q3 - parts.q4 > max(SMALLEST_GAIN * abs(parts.q3), SURE_ERRORS * parts.se_last)


def _verdict(window: Window, parts: Quarters, guess: float, lowest: float | None, without: str) -> Verdict:
    series: Series = window.loss
    seen = "" if lowest is None else f", the validation loss never fell below {lowest:.4g}"
    return say(
        Severity.WARNING,
        f"After {window.samples} steps the model gains nothing from its inputs: its loss settled at {parts.q4:.4g}"
        f"{seen}, and an answer by {without} costs {guess:.4g}",
        "Print ten inputs beside their labels as the loop gets them: look for inputs and labels that were shuffled or "
        "sorted apart, inputs that are all alike, and outputs or targets that were reshaped where they had to be "
        "transposed. Then overfit ten samples: if that works the code is right and the labels are not.",
        step=int(series.steps[0]),
        numbers={**parts.as_numbers(), "guess": guess},
        series=("loss",),
        limit=guess,
        at_once=False,
        stage=Stage.BASELINE,
        exact=False,
    )
