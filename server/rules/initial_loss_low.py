"""GW204: the first loss is below what any model could reach without looking at the inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._layers import looks_untrained, parameters
from server.rules._loss_call import (
    CROSS_ENTROPIES,
    NOT_SEEN,
    LossCall,
    call_operations,
    loss_call,
    product_of_unit_vectors,
)
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

MASKED = -1e3  # a score that is there to be none
NEAR = 8  # operations behind the softmax
SIZES = ("Sum", "Pow", "Norm", "LinalgVectorNorm")  # of a difference: a distance


class InitialLossLow(Rule):
    """The run has a first loss below that of the best guess without inputs

    ## What it does
    An answer that ignores the inputs cannot get a cross-entropy below the entropy of the batch's own labels (Gibbs'
    inequality). A first loss below that bound, by more than sampling explains, is a warning where the weights look
    freshly initialised and an info where they may be pretrained. Where the labels are not seen as class ids (soft
    targets), less than half of ln C is an info, for fresh weights. Where scores are masked (below -1000, or
    infinite), a guess among the others costs less, and nothing is judged; nor where the answers are distances between
    members of the batch, as to the prototypes of a few labelled examples: those know the labels.

    ## Why it matters
    An untrained model cannot know the labels. Either they leak into the inputs, or the loss is scaled or masked, or the
    weights are not what you think.

    ## What you see in the chart
    A loss curve that starts near its end.

    ## What to try
    - Look for the target among the input columns, and for augmentation that writes it into the picture.
    - Language models: labels must be shifted by one; unshifted ones are a copy of the input.
    - Look for a division (by accumulated batches, by all tokens instead of the counted ones).
    - Pretrained on purpose: `watch(…, finetune=True)`. What `load_state_dict` loaded before `watch()` is not heard,
      unless the optimizer came with it, and remembers its steps.

    ## Example
    ```python
    x = torch.cat([features, one_hot_labels], dim=1)    # wrong: the answer is part of the question
    x = features                                        # right
    ```

    ## References
    - Gibbs' inequality: cross-entropy ≥ entropy, for every constant answer.
    - A. Karpathy, *A Recipe for Training Neural Networks* (2019).
    """

    code = "GW204"
    name = "initial-loss-low"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 4
    chart = "loss"
    tier = "facts"
    clears_after = None
    gates = ("finetune", "resumed")
    stage = Stage.INITIALISATION
    levels = {"entropy": "entropy of the labels", "the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How far below the bound."""

        margin: float = threshold(0.02, unit="nats", low=0.0, high=1.0, source="ours: rounding and label noise")
        errors: float = threshold(
            4.0, unit="standard errors of a batch", low=1.0, high=10.0, source="sampling of labels"
        )
        unseen: float = threshold(
            0.5, unit="of ln C", low=0.1, high=1.0, source="ours: no usual start is there, whatever the labels are"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the loss before the first optimizer step."""
        call = loss_call(window)
        if call is None:
            yield NOT_SEEN
            return
        if window.fact("plan").get("trained_before"):
            yield NotEvaluated("the optimizer had stepped before watch(): the first loss is not that of a fresh model")
            return
        bound = call.batch_entropy
        odd = call.arguments.get("weight") or call.arguments.get("label_smoothing") or call.reduction != "mean"
        if bound is None and not odd and (unseen := _without_labels(window, call, params)) is not None:
            yield unseen
            return
        if call.function not in CROSS_ENTROPIES or odd or bound is None or call.value is None:
            yield NotEvaluated("the bound holds for a mean cross-entropy over class ids, seen before the first step")
            return
        if call.classes == call.batch_size and len(call.labels) == call.batch_size:
            yield NotEvaluated("the classes are the members of the batch (contrastive), whose views start close")
            return
        if call.input.nonfinite or (call.input.least or 0.0) <= MASKED:
            yield NotEvaluated("some answers are masked out, so that a guess among the others costs less")
            return
        if _by_likeness(window, call):
            yield NotEvaluated("the answers compare members of the batch, some of which come with their labels")
            return
        limit = bound - max(params.margin, params.errors / math.sqrt(max(call.per_batch, 1.0)))
        if call.value < limit:
            fresh = looks_untrained(window)
            yield say(
                Severity.WARNING if fresh else Severity.INFO,
                f"The first loss is {call.value:.4g}; without looking at the inputs nothing below {bound:.4g} nats, "
                "the entropy of the labels of a batch, can be reached"
                + ("" if fresh else " (the weights do not look freshly initialised)"),
                "Look for the labels among the inputs, for language-model labels that are not shifted, and for a loss "
                "that is divided or masked. If the weights are pretrained, say so: watch(…, finetune=True).",
                numbers={"first_loss": call.value, "entropy": bound, "labels_per_batch": call.per_batch},
                series=("loss",),
                limit=limit,
            )


def _by_likeness(window: Window, call: LossCall) -> bool:
    """Says whether the answers are distances or cosines of what the batch itself holds: no parameter has an axis of
    classes."""
    names = call_operations(window)
    at = next((place for place, name in enumerate(names) if name.startswith("LogSoftmax")), len(names))
    near = names[at : at + NEAR]
    measured = any(name.startswith(("Cdist", "EuclideanDist")) for name in near)
    written = any(
        one.startswith(SIZES) and any(other.startswith("Sub") for other in near[place + 1 : place + 3])
        for place, one in enumerate(near)
    )
    if not (measured or written or product_of_unit_vectors(names)[0]):
        return False
    return not any(call.classes in item.shape[:2] for item in parameters(window))


def _without_labels(window: Window, call: LossCall, params: InitialLossLow.Params) -> Verdict | None:
    """Tells of a first loss far below that of equal shares, where nothing is known of the labels."""
    classes = call.classes or 0
    if call.function not in CROSS_ENTROPIES or call.value is None or classes < 2 or classes == call.batch_size:
        return None
    start = math.log(classes)
    if call.value >= params.unseen * start or not looks_untrained(window):
        return None
    return say(
        Severity.INFO,
        f"The first loss is {call.value:.4g}, less than half of ln {classes} = {start:.4g}, where a model that knows "
        "nothing starts (the labels were not seen as class ids)",
        "Look for the labels among the inputs, and for a loss that is divided or masked.",
        numbers={"first_loss": call.value, "untrained": start},
        series=("loss",),
        limit=params.unseen * start,
    )
