"""GW211: the loss is exactly the same over many steps, exactly 0, or negative where it cannot be."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med
from server.rules._idle_losses import compared_with_itself, hinge_without_margin, nothing_but_rounding
from server.rules._layers import uses_closures
from server.rules._loss_call import MARGINS, NEVER_NEGATIVE, LossCall, is_ctc, loss_call, never_negative, own_operations
from server.rules.base import Rule, Stage, threshold

SOLVED = 0.05  # of the first losses: a loss that training brought down there may stand still
FEWEST_FALLING = 5  # losses on the way down
HALFWAY = 0.5  # of the first losses: one that falls to 0 from above was not brought there by training
ROUNDING = -1e-6
SURELY = 1e-3  # below 0: a small number before a logarithm makes a loss slightly negative
MISMATCH = frozenset({"GW202", "GW212"})
TOLD = 0.02  # the same loss: it may be told in another precision, or averaged over micro-batches
NEWEST = 20  # losses whose median is a level
DECADES = 1e4  # below so many times the first loss nothing is left to ask
STILL = 0.1  # of a quarter's level: a loss that falls by more in the next one has not levelled off
SIGN = (
    "Look for a minus sign, a term that is subtracted, or targets outside [0, 1] (class ids under a binary "
    "cross-entropy, images that were not divided by 255)."
)
NOT_NORMED = (
    "ctc_loss takes logarithms of probabilities: hand it log_softmax(outputs, dim=2), over the classes of "
    "(time, batch, classes). Raw outputs let it fall below 0, and it stops teaching."
)
NOT_THE_TARGETS = " while targets and weights are not"
ALIVE = 0.01  # of the first gradients
FLAT = 1e-3  # of the first gradient
RECENT = 1000  # newest losses in which a negative one still counts


class LossConstantOrZero(Rule):
    """The run has a loss that is exactly constant, exactly 0, or impossibly negative

    ## What it does
    Fires when the newest 20 losses are the same number in float32, when the newest 5 are exactly 0, or when a loss
    that cannot be negative (cross-entropy, binary cross-entropy, squared and absolute errors) is. That needs a backward
    that began at the function's own result: weights of uncertainty, rewards and other terms make a total of any sign.
    Any loss that fell below 0 by 100 times its first size and still falls at the end, or by 10,000 times, has no lower
    end (targets that move, of a GAN or rewards, are left out). A loss that training itself brought down to almost
    nothing is only an info, so is one that halved and whose gradient shrank below a thousandth of the first (the lowest
    point of one batch), and so is a margin loss whose pairs are all easy. A constant of one's own whose gradients
    stay as they were is left alone: the ratio of a policy to its frozen self is 1, and has a slope. So does a hinge of
    one's own that an untrained model satisfies in half of the first 20 batches or more, and in half of all: it asks for
    no margin. And a named part of the loss that never was more than a rounding error (below 1e-5 of the first losses),
    of both signs: it compares a number with itself. So does a whole loss that differs by its rounding alone from batch
    to batch, where every gradient is 0 or as small.

    ## Why it matters
    Batches differ, so a living loss never repeats itself to the last bit: a constant one does not depend on the
    model or the data. A negative cross-entropy means targets that are no probabilities, or a sign.

    ## What you see in the chart
    A line drawn with a ruler.

    ## What to try
    - Print `loss.grad_fn` and the outputs of two batches: equal outputs mean a dead or saturated network.
    - One output under `cross_entropy` gives 0 for ever: use `binary_cross_entropy_with_logits` or two outputs.
    - All labels ignored (`ignore_index`) or an empty mask: count the targets that are left.

    ## Example
    ```python
    head = nn.Linear(64, 1); loss = F.cross_entropy(head(x), y)    # wrong: the softmax of one number is always 1
    head = nn.Linear(64, 2); loss = F.cross_entropy(head(x), y)    # right
    ```

    ## References
    - PyTorch, `torch.nn.CrossEntropyLoss`: definition of the loss over C classes.
    - Exact test.
    """

    code = "GW211"
    name = "loss-constant-or-zero"
    severity = Severity.ERROR
    since = "0.1.0"
    version = 5
    needs = (Kind.LOSS,)
    chart = "loss"
    clears_after = 2
    stage = Stage.STOPPED
    levels = {"loss": "the value", "the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How often a value must repeat."""

        same: int = threshold(20, unit="equal losses in a row", low=3, high=1_000, source="exact: batches differ")
        zeros: int = threshold(5, unit="zeros in a row", low=2, high=1_000, source="exact: batches differ")
        endless: float = threshold(
            100.0, unit="times the first loss, below 0", low=10.0, high=1e6, source="ours: densities level off before"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Looks at the newest losses."""
        loss = window.loss
        if loss.count < params.zeros:
            yield NotEvaluated(f"{params.zeros} losses are needed, {loss.count} are in")
            return
        call = loss_call(window)
        newest = loss.tail(params.same).astype(np.float32)
        zero = not newest[-params.zeros :].any()
        constant = len(newest) == params.same and bool((newest == newest[0]).all())
        recent = loss.tail(RECENT)
        if call is not None and _is_the_loss(window, call) and bool((recent < ROUNDING).any()):
            if MISMATCH & window.open_codes:
                return  # the targets are at fault
            yield _negative(window, str(call.function))
        elif bool((recent < -SURELY).any()) and (why := never_negative(own_operations(window))):
            yield _negative(window, why, own=True)
        elif bool((recent < -SURELY).any()) and is_ctc(window) and not MISMATCH & window.open_codes:
            yield _negative(window, "ctc_loss", own=True, advice=NOT_NORMED)
        elif _has_no_end(window, params.endless):
            if not MISMATCH & window.open_codes:
                yield _endless(window, params.endless)
        elif (idle := hinge_without_margin(window)) is not None:
            yield idle
        elif (zero or constant) and not _moves(window, call, params.zeros):
            easy = zero and call is not None and call.function in MARGINS
            yield _standing(window, float(loss.values[-1]), params.zeros if zero else params.same, easy)
        elif not zero and (rounded := nothing_but_rounding(window, loss.tail(params.same))) is not None:
            yield rounded
        elif (part := compared_with_itself(window)) is not None:
            yield part


def _is_the_loss(window: Window, call: LossCall) -> bool:
    """Says whether the loss is the function's own result: nothing was added to it, and what was told is not a total."""
    if call.function not in NEVER_NEGATIVE or not call.alone:
        return False
    if call.value is None or int(window.loss.steps[0]) > 0:
        return True
    told, many = abs(float(window.loss.values[0])), max(call.calls_per_step, 1)
    return any(math.isclose(told, abs(call.value) * by, rel_tol=TOLD) for by in (1.0, many, 1 / many))


def _negative(window: Window, function: str, *, own: bool = False, advice: str = SIGN) -> Verdict:
    recent = window.loss.tail(RECENT)
    index = int(np.flatnonzero(recent < (-SURELY if own else ROUNDING))[0])
    least = float(recent[index])
    step = int(window.loss.steps[window.loss.count - len(recent) + index])
    return Verdict(
        severity=Severity.ERROR,
        first_step=step,
        message=f"The loss is {least:.4g} at step {step}, but {function} cannot be negative"
        + (NOT_THE_TARGETS if own and advice is SIGN else ""),
        advice=advice,
        evidence=Evidence(numbers={"loss": least}, strings={"function": function}, series=("loss",), limit=0.0),
        at_once=True,
        stage=Stage.OUTPUT,
        exact=True,
    )


def _scale(window: Window) -> float:
    start = window.loss.values[:NEWEST]
    start = start[np.isfinite(start)][:3]
    return 1 + abs(med(start)) if len(start) else math.inf


def _has_no_end(window: Window, endless: float) -> bool:
    """Says whether a loss fell below 0 by many times its first size, and goes on; log-densities level off."""
    loss = window.loss
    if window.gates.moving_target or loss.count < 2 * NEWEST or not loss.last < 0:
        return False
    scale, now = _scale(window), med(loss.tail(NEWEST))
    if now < -DECADES * scale:
        return True
    if not window.final and loss.count < RECENT:
        return False  # it may level off yet
    quarter = max(NEWEST, loss.count // 4)
    before = med(loss.tail(2 * quarter)[:quarter])
    return now < -endless * scale and med(loss.tail(quarter)) < before - STILL * abs(before)


def _endless(window: Window, endless: float) -> Verdict:
    loss, limit = window.loss, -endless * _scale(window)
    now, start = med(loss.tail(NEWEST)), _scale(window) - 1
    below = np.flatnonzero(loss.values < limit)
    return Verdict(
        severity=Severity.ERROR,
        first_step=int(loss.steps[below[0]]) if len(below) else int(loss.steps[-1]),
        message=(
            f"The loss began at a size of {start:.3g} and is {now:.3g} now (limit {limit:.3g}): it has no lower end, "
            "and is made smaller without anything being learned"
        ),
        advice=(
            "Look for a sign: a term that is subtracted (a divergence, an entropy, a penalty) is made as large as it "
            "can get. A likelihood whose variance may become 0 needs a lowest one; targets of a cross-entropy belong "
            "in [0, 1]."
        ),
        evidence=Evidence(numbers={"loss": now, "first_loss": start}, series=("loss",), limit=limit),
        at_once=True,
        stage=Stage.OUTPUT,
        exact=True,
    )


def _moves(window: Window, call: LossCall | None, looks: int) -> bool:
    """Says whether a constant of the user's own had gradients as large as at the start: a ratio of a policy to its
    frozen self is 1 wherever it is taken, and has a slope."""
    norms = window.series("grad_norm")
    if call is not None or norms.count < looks:
        return False
    since = int(np.searchsorted(norms.steps, int(window.loss.steps[_first_same(window)])))
    then, start = norms.values[since : since + looks], med(norms.values[:looks])
    return len(then) == looks and bool(np.isfinite(then).all()) and float(then.min()) > 0 and med(then) > ALIVE * start


def _first_same(window: Window) -> int:
    """Gives the first of the losses that are all the newest one."""
    loss = window.loss
    other = np.flatnonzero(loss.values.astype(np.float32) != np.float32(loss.values[-1]))
    return int(other[-1]) + 1 if len(other) else 0


def _standing(window: Window, value: float, needed: int, easy: bool) -> Verdict:
    loss = window.loss
    first = _first_same(window)
    step, count = int(loss.steps[first]), loss.count - first
    start = med(loss.values[: max(3, min(loss.count, 1000) // 100)])
    if first <= needed:  # a second-order method may be done in a few steps
        start = float(loss.values[0])
    way = np.abs(loss.values[max(0, first - needed) : first])
    fell = start != 0 and first >= FEWEST_FALLING and bool(np.any(way <= HALFWAY * abs(start)))
    solved = fell and (abs(value) <= SOLVED * abs(start) or _converged(window, needed, step))
    norm = window.series("grad_norm").tail(needed)
    still = bool(len(norm)) and not norm.any()
    message = f"The loss has been exactly {value + 0.0:.6g} for {count} steps, since step {step}"
    if still:
        message += ", and all gradients are zero: the output is saturated or dead"
    elif easy:
        message += ": all pairs are easy, none gives a gradient"
    elif solved:
        message += f": training brought it there from {start:.4g}"
    return Verdict(
        severity=Severity.INFO if solved or easy else Severity.ERROR,
        first_step=step,
        message=message,
        advice=_EASY if easy else _SOLVED if solved else _ADVICE,
        evidence=Evidence(numbers={"loss": value}, series=("loss", "grad_norm")),
        at_once=True,
    )


def _converged(window: Window, looks: int, since: int) -> bool:
    """Says whether the gradient shrank to next to nothing without being 0, as at the lowest point of one batch.

    What is dead or saturated has none at all. What was measured `since` the loss stands still counts, if anything was;
    where hardly anything ever was, a method of second order has stopped by itself.
    """
    norms = window.series("grad_norm")
    if norms.count < FEWEST_FALLING:
        return bool(np.all(norms.values > 0)) and uses_closures(window)
    newest = norms.values[int(np.searchsorted(norms.steps, since)) :][-looks:]
    if not len(newest):
        newest = norms.tail(min(looks, FEWEST_FALLING))
    return bool(np.all(newest > 0)) and float(newest.max()) < FLAT * float(norms.values[0])


_ADVICE = (
    "Print the model's outputs for two different batches. Equal outputs: look for dead units, saturated activations or "
    "inputs that do not reach the model. Different outputs: the loss does not see them (one class, detached tensors, "
    "every target ignored)."
)
_SOLVED = "Nothing is left to learn from these data; compare with the validation loss before you go on."
_EASY = "Choose harder pairs or triplets (semi-hard mining), or a larger margin."
