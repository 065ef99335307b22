"""GW212: the last operation of the model cannot produce the targets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._loss_call import (
    BINARY,
    NOT_SEEN,
    REGRESSION,
    SAME_VALUES,
    LossCall,
    call_operations,
    loss_call,
    product_of_unit_vectors,
)
from server.rules._loss_seen import where, with_kind
from server.rules._reach import REACH, beyond, in_own_error, out_of_reach
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

ROUNDING = 0.01  # of a sum of probabilities
OF_ANOTHER_CALL = 1e-3  # of the inputs of the loss
_PASSING = (*SAME_VALUES, "Select", "ToCopy")


class OutputActivationMismatch(Rule):
    """The run has a last activation whose range cannot hold its targets

    ## What it does
    Reads the operation that made the outputs (views and casts skipped) and the targets of the first batches. It finds a
    softmax over a single output, regression targets of which more than 5 % lie out of the reach of a ReLU, sigmoid,
    softmax or tanh, a ReLU, sigmoid or tanh under a cross-entropy over classes, a ReLU in front of the sigmoid of a
    binary one, a softmax where several classes can be true at once or whose regression targets do not sum to 1, and
    cosines handed to a cross-entropy as they are: between −1 and 1 no class can be made likely. Of a squared or
    absolute error that you wrote, `((out - y) ** 2).mean()`, the targets are read in the graph of the first steps.

    ## Why it matters
    What the output cannot reach is not learned: the loss settles above its floor, and where the activation is at its
    end the gradient is exactly 0.

    ## What you see in the chart
    A loss that falls at first and stops at a level which better models of the same data pass easily.

    ## What to try
    - Regression: no activation after the last layer, or targets scaled into its range.
    - Class ids: raw outputs (logits) into `cross_entropy`. Several labels at once: one sigmoid per label, that is
      `binary_cross_entropy_with_logits`.
    - Cosine similarities: divide them by a temperature (0.05 to 0.5), or multiply by a learned scale.

    ## Example
    ```python
    model = nn.Sequential(nn.Linear(8, 1), nn.Softmax(dim=1))    # wrong: the softmax of one number is always 1
    model = nn.Linear(8, 1)                                      # right, with binary_cross_entropy_with_logits
    ```

    ## References
    - PyTorch, `torch.nn.CrossEntropyLoss` and `BCEWithLogitsLoss`: what they expect.
    - Radford et al. 2021, *CLIP*; Chen et al. 2020, *SimCLR*: cosines are scaled by a temperature.
    - Exact test on shares, so that a few noisy targets beyond ±1 under a tanh stay silent; 5 % is ours.
    """

    code = "GW212"
    name = "output-activation-mismatch"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 5
    chart = "loss"
    tier = "facts"
    clears_after = 1
    stage = Stage.OUTPUT
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How many targets may lie outside."""

        outside: float = threshold(0.05, unit="share of the targets", low=0.0, high=1.0, source="ours: label noise")
        batches: int = threshold(3, unit="batches", low=1, high=1000, source="ours: the first targets are typical")
        sums: float = threshold(
            0.25,
            unit="away from 1, of targets behind a softmax",
            low=0.0,
            high=10.0,
            source="ours: soft labels sum to 1",
        )
        exclusive: float = threshold(
            0.05,
            unit="labels per row away from 1",
            low=0.0,
            high=1.0,
            source="ours: rows of exclusive classes sum to 1",
        )
        cosine_batches: int = threshold(
            8, unit="batches", low=1, high=1000, source="ours: logits of that many batches leave ±1 otherwise"
        )
        out_of_reach: float = threshold(
            0.25, unit="of the loss of a guess", low=0.0, high=1.0, source="ours: what cosines cannot get rid of"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `loss_call`."""
        call = loss_call(window)
        if call is None and (found := in_own_error(window, params.outside, params.batches)) is not None:
            yield found
        elif call is None:
            yield NOT_SEEN
        elif not call.previous_op:
            yield NotEvaluated("the operation before the loss was not seen", "call watch() before the first forward")
        elif call.batches < params.batches and not window.final:
            yield NotEvaluated(f"{params.batches} batches are needed, {call.batches} are in")
        else:
            verdict = _judge(window, call, params)
            if verdict is not None:
                yield verdict


def _judge(window: Window, call: LossCall, params: OutputActivationMismatch.Params) -> Verdict | None:
    operation = call.previous_op.removesuffix("Backward0").removesuffix("Backward1").removeprefix("Log")
    place = where(with_kind(window, call))
    if operation == "Softmax" and call.previous_dim == 1:
        return _say(
            call,
            f"The outputs come from a softmax over a single number{place}: they are always 1 and no gradient passes",
            "Remove the softmax. One output: binary_cross_entropy_with_logits with float targets; C classes: C outputs "
            "and cross_entropy.",
        )
    outside = beyond(call.target).get(operation)
    if (beyond(call.input).get(operation) or 0.0) > OF_ANOTHER_CALL:
        return None  # what goes in lies out of reach too: another call of the same function got something else
    if call.function in REGRESSION and outside is not None and outside > params.outside:
        return _say(call, *out_of_reach(operation, place, call.target, outside), outside)
    rows = _sum_of_rows(call) if operation == "Softmax" else None
    if rows is not None and abs(rows - 1) > params.sums:
        return _say(
            call,
            f"The outputs come from a softmax over {call.previous_dim}{place}, so they sum to 1, but "
            f"{call.previous_dim} targets sum to {rows:.3g} on average",
            f"Remove the softmax{place}: a sigmoid for numbers between 0 and 1, nothing for others.",
        )
    if call.function == "cross_entropy" and (call.classes or 0) > 1 and operation in ("Relu", "Sigmoid", "Tanh"):
        return _say(
            call,
            f"The logits of {call.classes} classes pass a {operation.lower()}{place} before {call.function}: they "
            f"cannot leave {REACH[operation]}",
            f"Remove the {operation.lower()}{place}: cross_entropy takes raw outputs of both signs.",
        )
    if call.function in BINARY and operation in ("Relu", "Sigmoid") and _cut_below(window):
        return _say(
            call,
            f"A relu stands between the scores and their sigmoid{place}: no probability is ever below one half",
            "Remove the relu in front of the sigmoid: a score of either sign is what the sigmoid turns into a "
            "probability.",
        )
    verdict = _cosines(window, call, params)
    if verdict is not None:
        return verdict
    labels = call.target
    yes_or_no = labels.integer and labels.distinct == 2 and (labels.least, labels.most) == (0, 1)
    several = window.fact("loss_call").get("one_hot") is False and labels.mean is not None
    if operation == "Softmax" and call.function == "binary_cross_entropy" and yes_or_no and several:
        per_row = (labels.mean or 0.0) * (call.classes or 1)
        if abs(per_row - 1) > params.exclusive:
            return _say(
                call,
                f"The outputs come from a softmax{place}, so their sum is 1, but a row of targets holds {per_row:.2g} "
                "true labels on average: the classes are not exclusive",
                "Replace the softmax by nothing and use binary_cross_entropy_with_logits: one yes or no per label.",
            )
    return None


def _sum_of_rows(call: LossCall) -> float | None:
    """Gives what as many targets as a softmax goes over sum to, under a regression whose inputs are those outputs."""
    given, wanted, size = call.input.mean, call.target.mean, call.previous_dim
    if call.function not in REGRESSION or given is None or wanted is None or not size or call.broadcast:
        return None
    return wanted * size if abs(given * size - 1) < ROUNDING else None


def _cut_below(window: Window) -> bool:
    """Says whether the scores of a binary loss come from a relu: right behind the loss, or behind its sigmoid."""
    behind = [name for name in call_operations(window)[1:] if not name.startswith(_PASSING)]
    if behind and behind[0].startswith("Sigmoid"):
        behind = behind[1:]
    return bool(behind) and behind[0].startswith("Relu")


def _cosines(window: Window, call: LossCall, params: OutputActivationMismatch.Params) -> Verdict | None:
    """Looks for a cross-entropy of cosines without a temperature. One that is there shows in values beyond ±1, if need
    be at the end of the run: a learned scale may start at 1."""
    classes, least, most = call.classes or 0, call.input.least, call.input.most
    if call.function != "cross_entropy" or classes < 2 or least is None or most is None:
        return None
    product, scaled = product_of_unit_vectors(call_operations(window))
    if not product or max(-least, most) > 1 + 1e-3 or call.batches < params.cosine_batches:
        return None
    floor = math.log1p((classes - 1) * math.exp(-2))
    if (scaled and not window.final) or floor < params.out_of_reach * math.log(classes):
        return None
    return _say(
        call,
        f"cross_entropy got cosines as they are: {classes} scores between {least:.2g} and {most:.2g} can bring the "
        f"loss from {math.log(classes):.3g} down to {floor:.3g} at best",
        "Divide the cosines by a temperature, for example 0.07 or 0.1, or multiply them by a learned scale "
        "(`scale.exp()`, started at 10 or more).",
    )


def _say(call: LossCall, message: str, advice: str, outside: float | None = None) -> Verdict:
    strings = {"operation before the loss": call.previous_op, "function": str(call.function)}
    numbers = {"batches": float(call.batches)} | ({"outside": outside} if outside is not None else {})
    return say(
        Severity.ERROR,
        message,
        advice,
        layers=(call.last_layer,),
        numbers=numbers,
        strings=strings,
        series=("loss",),
        limit=0.05 if outside is not None else None,
    )
