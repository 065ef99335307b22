"""GW206: after a fair number of steps the loss has not moved from its start."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import Quarters, med
from server.rules._loss_call import (
    BINARY,
    CROSS_ENTROPIES,
    LossCall,
    entropy,
    entropy_error,
    expected,
    loss_call,
)
from server.rules._progress import SMALLEST_GAIN, SURE_ERRORS, first_finite, is_stuck, loss_quarters
from server.rules._validation import evaluations
from server.rules.base import Rule, Stage, threshold

AT_CHANCE = 0.02
FEWEST_EVALUATIONS = 5
FEWEST_CLASSES, FEWEST_LABELS = 3, 20  # of each class
FAR_ABOVE = 1.2  # times a guess: who comes down from there has learned something
LIKELY_ERRORS = 1.645  # standard errors of the difference: a fall, as a one-sided test at 5 % says
WORTH = 0.97  # of a guess: from there on something was learned
FEWEST_TARGETS = 200  # that tell what their mean alone costs
HANDFUL, ROUGH = 16, 0.25  # parameters; of the fall, the range of all that follows the first quarter
MOSTLY = 0.5  # a run that broke early has no last quarter


class LossNotDecreasing(Rule):
    """The run has a loss that has not moved from where it started

    ## What it does
    Splits the losses so far into quarters and compares the median of the first quarter, and of the very first
    losses, with that of the last. It fires where neither fell by more than 1 % (5 % from the start) and three
    standard errors. It speaks after 1,000 steps, after a tenth of a planned run that is shorter (400 at least), or
    at the end. It says the smallest progress that it could have seen. A validation loss that fell by 8 % and three
    sigmas of its own is progress too: where batches are noisy, the fixed set shows it first. Noise that would hide
    a fall by a quarter says nothing, nor does noise above 5 % of a regression's loss, or above 2 % of a loss that you
    wrote out yourself, whose floor nobody knows. A cross-entropy that began at a guess by the shares of the classes
    and is now 3 % below it, for sure, has moved, and so has a mean squared error that is as far below the variance of
    its targets.
    Of three or more classes, a run that ended within 3 % of what the shares of its classes alone cost, and whose
    validations were never below that by a percent, has not moved either: it learned a little by heart.

    ## Why it matters
    The steps cost the same as useful ones. A loss that stays at the level of guessing has a cause that no patience
    cures.

    ## What you see in the chart
    A flat band. At ln C (2.303 for ten classes) the model answers the same for every input.

    ## What to try
    - Overfit a handful of samples first; if that fails, the fault is in the code, not in the data.
    - Print the learning rate (`scheduler.get_last_lr()`), and whether the weights change between two steps.
    - Check that labels and inputs are shuffled together and that `backward()` and `step()` reach all parameters.

    ## Example
    ```python
    images, labels = images[torch.randperm(n)], labels[torch.randperm(n)]    # wrong: two different orders
    order = torch.randperm(n); images, labels = images[order], labels[order]  # right
    ```

    ## References
    - A. Karpathy, *A Recipe for Training Neural Networks* (2019): overfit one batch.
    - Standard error of a median: 1.2533 σ/√n (normal distribution), with σ from the median absolute deviation.
    """

    code = "GW206"
    name = "loss-not-decreasing"
    severity = Severity.WARNING
    since = "0.1.0"
    version = 6
    needs = (Kind.LOSS,)
    chart = "loss"
    every = 50
    clears_after = 2
    gates = ("warm_up", "moving_target")
    whole_run = True
    stage = Stage.STUCK
    levels = {"the limit": "limit", "q1": "first quarter"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """When it judges, and how sure it must be."""

        samples: int = threshold(1_000, unit="samples", low=50, high=100_000, source="ours: updates of a fair test")
        planned_share: float = threshold(
            0.1, unit="of a planned run", low=0.01, high=1.0, source="ours: early enough to stop it"
        )
        fewest: int = threshold(400, unit="samples", low=20, high=100_000, source="ours: a quarter of 100 losses")
        improved: float = threshold(
            0.08, unit="of the first validation loss", low=0.01, high=1.0, source="ours: with three sigmas of it"
        )
        fewest_final: int = threshold(100, unit="samples of a run that has ended", low=20, high=10_000, source="ours")
        blind: float = threshold(
            0.1,
            unit="of the loss that could have been gained unseen",
            low=0.01,
            high=1.0,
            source="ours: noisier losses wait for twice the samples",
        )
        near: float = threshold(
            0.97, unit="of a guess by the shares of the classes", low=0.5, high=1.0, source="ours: nothing was learned"
        )
        hopeless: float = threshold(
            0.25,
            unit="of the loss that could have been gained unseen",
            low=0.05,
            high=1.0,
            source="ours: a quarter less is progress, and such noise would hide it",
        )
        unknown: float = threshold(
            0.05,
            unit="of a loss that begins anywhere that could have been gained unseen",
            low=0.01,
            high=1.0,
            source="ours: nobody knows how much of it can be gained at all",
        )
        own: float = threshold(
            0.02,
            unit="of a loss of your own that could have been gained unseen",
            low=0.001,
            high=1.0,
            source="ours: of a deviance or a likelihood a few percent may be all there is to learn",
        )
        solved: float = threshold(
            0.3,
            unit="of the loss of an untrained model",
            low=0.0,
            high=1.0,
            source="ours: nothing much is left to learn",
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the losses so far."""
        needed = params.samples
        if window.planned:
            needed = min(needed, max(params.fewest, int(params.planned_share * window.planned)))
        if window.final:
            needed = min(needed, params.fewest_final)
        parts = loss_quarters(window) if window.samples >= needed else None
        if parts is None:
            yield NotEvaluated(f"{needed} losses are needed, {window.samples} are in")
            return
        if parts.count < MOSTLY * window.loss.count:
            yield NotEvaluated(f"only {parts.count} of {window.loss.count} losses are finite")
            return
        call = loss_call(window)
        start = expected(call) if call is not None else None
        if start is not None and parts.q1 < params.solved * start.value:
            return
        smallest = max(SMALLEST_GAIN * abs(parts.q1), SURE_ERRORS * parts.se_first)
        if smallest > params.blind * abs(parts.q1) and window.samples < 2 * params.samples and not window.final:
            yield NotEvaluated(
                f"the loss is so noisy that a fall of {smallest / abs(parts.q1 or 1.0):.0%} could not be seen yet"
            )
            return
        told = _never_beat_a_guess(window, call, parts, params)
        if told:
            yield _verdict(window, parts, smallest, None, told)
            return
        if not is_stuck(parts) or _validation_improved(window, params) or _beats_a_guess(call, parts):
            return
        if _beats_the_mean(call, parts) or _few_settled(window, parts):
            return
        moved = min(parts.q1, parts.start) - parts.q4
        if moved > max(SMALLEST_GAIN * abs(parts.q1), LIKELY_ERRORS * math.hypot(parts.se_first, parts.se_last)):
            yield NotEvaluated(
                f"the loss fell by {moved / abs(parts.q1):.0%}, which its noise hides but does not explain",
                "monitor.validation(loss) on a fixed set shows what noisy batches hide",
            )
            return
        unseen = params.hopeless if start is not None else params.unknown if call is not None else params.own
        if smallest > unseen * abs(parts.q1):
            yield NotEvaluated(
                f"the loss is so noisy that a fall of {smallest / abs(parts.q1 or 1.0):.0%} could not be seen",
                "monitor.validation(loss) on a fixed set shows what noisy batches hide",
            )
            return
        classes = call.classes if call is not None and call.function in CROSS_ENTROPIES else None
        yield _verdict(window, parts, smallest, classes)


def _never_beat_a_guess(
    window: Window, call: LossCall | None, parts: Quarters, params: LossNotDecreasing.Params
) -> str:
    """Says, of a run that has ended, that no validation beat a guess by the shares of the classes, and the training
    hardly did; "" where that is not so."""
    found = evaluations(window)
    if not window.final or call is None or call.function not in CROSS_ENTROPIES or len(call.labels) < FEWEST_CLASSES:
        return ""
    if found is None or len(found) < FEWEST_EVALUATIONS or sum(call.labels.values()) < FEWEST_LABELS * len(call.labels):
        return ""
    guess, lowest = entropy(call.labels), float(found.values.min())
    if parts.q4 < params.near * guess or lowest < (1 - SMALLEST_GAIN) * guess or parts.start > FAR_ABOVE * guess:
        return ""
    return (
        f"the validation loss was never below {lowest:.4g}, and a guess by the shares of the classes costs {guess:.4g}"
    )


def _beats_a_guess(call: LossCall | None, parts: Quarters) -> bool:
    """Says whether the run began at what the shares of the classes alone cost and ended surely below that: where the
    labels are hard to tell, that little is all there is to learn."""
    if call is None or not call.alone or call.function not in CROSS_ENTROPIES | BINARY or len(call.labels) < 2:
        return False
    if call.reduction != "mean" or call.arguments.get("weight") or call.arguments.get("pos_weight"):
        return False
    guess = entropy(call.labels)
    error = math.hypot(parts.se_last, entropy_error(call.labels))
    return parts.start > WORTH * guess and guess - parts.q4 > max((1 - WORTH) * guess, SURE_ERRORS * error)


def _beats_the_mean(call: LossCall | None, parts: Quarters) -> bool:
    """Says whether a mean squared error began at what the mean of the targets alone costs and ended surely below that:
    where noise makes most of the targets, that little is all there is to learn."""
    if call is None or not call.alone or call.function != "mse_loss" or call.reduction != "mean" or call.broadcast:
        return False
    spread, seen = call.target.std, call.batches * call.batch_size
    if spread is None or seen < FEWEST_TARGETS:
        return False
    guess = spread**2
    error = math.hypot(parts.se_last, guess * math.sqrt(2 / seen))
    return parts.start > WORTH * guess and guess - parts.q4 > max((1 - WORTH) * guess, SURE_ERRORS * error)


def _few_settled(window: Window, parts: Quarters) -> bool:
    """Says whether a handful of parameters came to rest in a few steps: a smooth fall from the first loss, which never
    came back (the temperature of a calibration). That little has nothing else to learn."""
    trainable, losses = window.fact("model").get("trainable"), window.loss.values
    first = first_finite(losses)
    if not isinstance(trainable, int) or not 0 < trainable <= HANDFUL or first is None:
        return False
    fall, rest = first - parts.q4, losses[len(losses) // 4 :]
    wide = float(np.ptp(rest[np.isfinite(rest)]))
    return fall > SMALLEST_GAIN * abs(first) and wide < ROUGH * fall


def _validation_improved(window: Window, params: LossNotDecreasing.Params) -> bool:
    """Says whether the loss of a fixed set fell for sure: batches of a noisy task may hide what was learned."""
    found = evaluations(window)
    if found is None or len(found) < FEWEST_EVALUATIONS:
        return False
    first = float(found.values[0])
    return first - med(found.values[-3:]) > max(params.improved * abs(first), SURE_ERRORS * found.noise)


def _verdict(window: Window, parts: Quarters, smallest: float, classes: int | None, told: str = "") -> Verdict:
    chance = ""
    if classes and classes > 1 and abs(parts.q4 - math.log(classes)) <= AT_CHANCE * math.log(classes):
        chance = f"; {parts.q4:.3g} = ln {classes} is what guessing among {classes} classes gives"
    return Verdict(
        severity=Severity.WARNING,
        first_step=0,
        message=(
            f"In {window.samples} steps nothing was learned that holds for other samples: the loss went from "
            f"{parts.q1:.4g} in the first quarter to {parts.q4:.4g} in the last, {told}"
            if told
            else f"After {window.samples} steps the loss shows no progress: {parts.q1:.4g} in the first quarter, "
            f"{parts.q4:.4g} in the last (a fall of {smallest:.2g} would have been seen){chance}"
        ),
        advice=(
            "Overfit 10 samples: if the loss does not go to 0 there, the fault is in the code (labels shuffled "
            "apart from the inputs, frozen or forgotten parameters, a learning rate of 0). If it does, raise the "
            "learning rate tenfold and look again."
        ),
        evidence=Evidence(
            numbers={**parts.as_numbers(), "smallest_gain": smallest}, series=("loss",), limit=parts.q1 - smallest
        ),
    )
