"""GW201: the first loss is far above that of a model that knows nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.statistics import med
from server.rules._layers import layers, parameters
from server.rules._loss_call import (
    CROSS_ENTROPIES,
    NOT_SEEN,
    REGRESSION,
    Expected,
    LossCall,
    call_operations,
    expected,
    loss_call,
    product_of_unit_vectors,
)
from server.rules._progress import first_finite
from server.rules.base import Rule, Stage, threshold

FAR_ABOVE = 1.5  # times the error of answering 0
SQUARED_ERROR_SPREAD = math.sqrt(2)  # standard deviation of a normal value's square, in means
SCALED = ("Mul", "Div")  # operations by which a loop multiplies logits behind the last layer


USUAL_OUTPUTS = 0.5  # mean square of what a fresh last layer gives, generously


class InitialLossHigh(Rule):
    """The run has a first loss far above that of a model that knows nothing

    ## What it does
    Knows the loss function from its call and computes what an untrained model should get: ln C for cross-entropy over C
    classes (2.303 for 10, 6.908 for 1000), ln 2 for binary cross-entropy, the mean square of the targets for a squared
    error. The surplus is turned into the variance v that random logits would need for it: L0 = E0 + v/2·(1 − 1/C).
    Every usual initialisation stays below v = 1. Above 1 it is an info. Above 2.25 (and 4 standard errors of a batch)
    it is a warning, if a tenth of the run went by before the surplus was gone, or if a number explains it (a sum over
    the batch, bits, another layer's outputs). Above 8 it is an error at once. Where more outputs exist than classes
    occur it says so. Weights of an odd scale do not count as pretrained: a bad start is one of the causes, and what
    `load_state_dict` loaded before `watch()` looks like any other weights.

    ## Why it matters
    A first loss that is too high means a head that is sure of itself before it has seen anything, inputs or targets
    that nobody scaled, or a loss that sums where it should average. The first hundred steps only undo it. A surplus of
    about a nat that a few steps undo costs those steps and nothing else. A model without an opinion costs ln C whatever
    the shares of the classes are: 0.693 for two of them, also at 20 % and 80 %; 0.500 is what those shares cost once it
    knows them. So a first loss above 1 is high for two classes alone: of ten it should be 2.303.

    ## What you see in the chart
    A loss that starts with a cliff, and gradient norms that are largest at step 0.

    ## What to try
    - Scale the last layer down (`nn.init.normal_(head.weight, std=0.01)`), set its bias to the log of the class shares.
    - Standardise inputs and regression targets to mean 0 and standard deviation 1.
    - `reduction="mean"` instead of `"sum"`; divide by the number of accumulated batches.
    - Tied `nn.Embedding` as output layer: its default N(0, 1) gives a loss in the hundreds; use std=0.02.

    ## Example
    ```python
    nn.init.normal_(model.head.weight, std=1.0)      # wrong: logits of ±20, a first loss of 13
    nn.init.normal_(model.head.weight, std=0.01)     # right: ln 10 = 2.303
    ```

    ## References
    - A. Karpathy, *A Recipe for Training Neural Networks* (2019): verify the loss at initialisation.
    - K. He et al., *Delving Deep into Rectifiers* (2015): the variance that initialisations aim at.
    - The variance formula is the second-order expansion of log-sum-exp for independent logits.
    """

    code = "GW201"
    name = "initial-loss-high"
    severity = Severity.ERROR
    since = "0.1.0"
    version = 8
    chart = "loss"
    tier = "facts"
    clears_after = None
    gates = ("finetune",)
    stage = Stage.FIRST_LOSS
    levels = {"expected": "untrained model"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """From which variance of the logits on it speaks."""

        info: float = threshold(
            1.0, unit="variance of the logits", low=0.1, high=100.0, source="above He's initialisation of a usual head"
        )
        warning: float = threshold(
            2.25,
            unit="variance of the logits",
            low=0.1,
            high=100.0,
            source="ours: std 1.5; the largest value of a picture behind batch norm gives 2.1 with PyTorch's start",
        )
        error: float = threshold(
            8.0, unit="variance of the logits", low=0.1, high=1e4, source="ours: 5.9 instead of 2.3 for 10 classes"
        )
        regression_warning: float = threshold(
            3.0, unit="variances of the targets", low=0.1, high=1e4, source="ours: four times the error of answering 0"
        )
        regression_error: float = threshold(
            30.0, unit="variances of the targets", low=1.0, high=1e6, source="ours: inputs or targets are not scaled"
        )
        errors: float = threshold(
            4.0, unit="standard errors of a batch", low=1.0, high=10.0, source="sampling of labels"
        )
        undone: float = threshold(
            0.1, unit="of the run", low=0.01, high=1.0, source="ours: what costs less is no harm to the rest"
        )
        samples: int = threshold(40, unit="samples", low=10, high=10_000, source="ours: less is a smoke test")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the loss before the first optimizer step, and how long it took to make that good."""
        call = loss_call(window)
        if call is None:
            yield NOT_SEEN
            return
        start = expected(call)
        if start is None:
            yield NotEvaluated(f"the loss of an untrained model is not known for {call.function} as it was called")
            return
        if call.value is None:
            yield NotEvaluated("no loss was seen before the first optimizer step", "call watch() before the loop")
            return
        if "GW202" in window.open_codes:
            return  # the number is the mismatch's
        verdict = _judge(window, call, start, params) or _spare_outputs(call, start)
        if verdict is not None:
            yield verdict


def _judge(window: Window, call: LossCall, start: Expected, params: InitialLossHigh.Params) -> Verdict | None:
    first = call.value or 0.0
    if call.reduction == "sum":
        first /= call.per_value
    surplus = first - start.value
    variance = surplus / start.unit
    if call.function in REGRESSION:
        limits = ((params.regression_error, Severity.ERROR), (params.regression_warning, Severity.WARNING))
        # far from 0, a small answer already moves the error by many variances; and a batch of few is a draw of luck
        luck = params.errors * SQUARED_ERROR_SPREAD * start.value / math.sqrt(max(call.batch_size, 1))
        sure = first > FAR_ABOVE * start.value and surplus > luck
    else:
        limits = ((params.error, Severity.ERROR), (params.warning, Severity.WARNING))
        sure = surplus > params.errors * _standard_error(call, variance)
    limit, severity = next(((limit, level) for limit, level in limits if variance > limit and sure), (0.0, None))
    if severity is None:
        if call.function in REGRESSION or variance <= params.info:
            return None
        limit, severity = params.info, Severity.INFO
    if severity is not Severity.INFO and _partly_frozen(window):
        severity = Severity.INFO  # who freezes layers has trained them before: then a new head may start anywhere
    if call.function in REGRESSION and call.function != "l1_loss" and surplus < USUAL_OUTPUTS:
        severity = Severity.INFO  # the outputs are as fresh layers give them; it is the targets that are small
    cause = _explain(window, call, start, first)
    kept = _kept(window, (start.value + STILL * surplus) / first, params)
    if severity is Severity.WARNING and not cause and kept is None:
        severity = Severity.INFO
    cosines, _ = product_of_unit_vectors(call_operations(window))
    scaled = call.function in CROSS_ENTROPIES and (cosines or call.previous_op.startswith(SCALED))
    if scaled and (cosines or not cause):  # under a free scale a number that is matched is matched by chance
        severity = Severity.INFO  # a temperature or a scale with a margin sets where such a loss starts
        cause = "The logits are multiplied behind the last layer, which alone can set where it starts"
    return Verdict(
        severity=severity,
        first_step=0,
        message=(
            f"The first loss is {first:.4g}, an untrained model should start near {start.value:.4g} = {start.words}"
            + (f". {cause}" if cause else kept if severity is not Severity.INFO and kept else "")
        ),
        advice=_ADVICE_REGRESSION if call.function in REGRESSION else _ADVICE,
        layers=(call.last_layer,) if call.last_layer else (),
        evidence=Evidence(
            numbers={"first_loss": first, "expected": start.value, "variance": variance},
            strings={"function": str(call.function), "expected": start.words},
            series=("loss",),
            limit=limit,
        ),
        at_once=True,
    )


def _kept(window: Window, share: float, params: InitialLossHigh.Params) -> str | None:
    """Says how high the loss was after a tenth of the run, where that is above the given share of its first value (that
    of a model that knows nothing); None where it was made good by then, or where that is not known yet."""
    total, losses = window.samples if window.final else window.planned or 0, window.loss.values
    at = math.ceil(params.undone * total)
    width = max(5, at // 2)
    begin = first_finite(losses[:at])
    if total < params.samples or begin is None or len(losses) < at + width:
        return None
    level = med(losses[at : at + width])
    return f", and after {at} of {total} steps it was still {level:.4g}" if level > share * begin else None


def _partly_frozen(window: Window) -> bool:
    return any(item.is_matrix and not item.trainable for item in parameters(window))


def _spare_outputs(call: LossCall, start: Expected) -> Verdict | None:
    """Tells of outputs that no label ever asks for: the first loss is that of all of them."""
    seen, outputs = len(call.labels), call.classes or 0
    if (
        call.function not in CROSS_ENTROPIES
        or seen < 2
        or outputs < 2 * seen
        or call.batches < _FEWEST_BATCHES
        or sum(call.labels.values()) < _LABELS_PER_CLASS * seen
        or max(call.labels) != seen - 1
        or call.of_places
        or call.value is None
        or abs(call.value - start.value) > _MATCH * start.value
    ):
        return None
    return Verdict(
        severity=Severity.INFO,
        first_step=0,
        message=(
            f"The first loss is explained: {call.value:.3g} = {start.words}: {outputs} outputs, {seen} classes seen. "
            f"With {seen} outputs it would be {math.log(seen):.3g} = ln {seen}"
        ),
        advice=(
            f"If the data have {seen} classes, give the last layer {seen} outputs; what the others take is learned "
            "away in the first steps."
        ),
        layers=(call.last_layer,) if call.last_layer else (),
        evidence=Evidence(
            numbers={"first_loss": call.value, "outputs": float(outputs), "classes_seen": float(seen)},
            series=("loss",),
            limit=float(seen),
        ),
        at_once=True,
    )


def _standard_error(call: LossCall, variance: float) -> float:
    """Gives the standard error of a batch's loss under random logits: labels that are not evenly mixed add to it."""
    total = sum(call.labels.values())
    uneven = sum((count / total) ** 2 for count in call.labels.values()) - 1 / (call.classes or 2) if total else 0.0
    return min(math.sqrt(max(variance, 0.0)), 1.0) * math.sqrt(max(uneven, 0.0) + 1 / call.per_batch)


def _explain(window: Window, call: LossCall, start: Expected, first: float) -> str:
    """Looks for a number that the first loss equals within 2 %."""
    size = call.value_kept or call.per_batch
    tries = [
        (start.value * size, f"{first:.4g} = {start.words} · {size:.4g}: the loss is summed over the batch"),
        (start.value / math.log(2), f"{first:.4g} = {start.words} / ln 2: the loss is in bits"),
    ]
    if call.function in CROSS_ENTROPIES:
        for layer in layers(window):
            outputs = (layer.get("arguments") or {}).get("out_features")
            if isinstance(outputs, int) and outputs > 1 and outputs != call.classes:
                name = layer.get("name")
                tries.append((math.log(outputs), f"{first:.4g} = ln {outputs}: the outputs of `{name}`"))
    return next((words for value, words in tries if abs(first - value) <= _MATCH * abs(value)), "")


_MATCH = 0.02
STILL = 0.1  # of the surplus: less of it, after a tenth of the run, is made good
_FEWEST_BATCHES = 8
_LABELS_PER_CLASS = 20
_ADVICE = (
    "Scale the last layer down (nn.init.normal_(weight, std=0.01), bias zero or the log of the class shares), check "
    'that the inputs are standardised and that the loss averages (reduction="mean").'
)
_ADVICE_REGRESSION = (
    "Standardise the targets (subtract their mean, divide by their standard deviation) and the inputs, and scale the "
    "last layer down so that the first outputs are near 0."
)
