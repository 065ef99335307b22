"""GW203: some classes are so rare that they are not learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._loss_call import BINARY, CROSS_ENTROPIES, NOT_SEEN, counts_of, entropy, loss_call
from server.rules._progress import loss_quarters
from server.rules._say import percent, say
from server.rules._validation import judged_by_ranks, low_recall
from server.rules._vocabulary import answers_in_signs
from server.rules.base import Rule, Stage, threshold

MANY = 10  # classes
UNKNOWN = 0.3  # of the entropy of the labels
SAME_ANSWERS = "GW311"


class ClassImbalance(Rule):
    """The run has rare classes that the model does not find

    ## What it does
    Counts the labels that reach the loss: one class more than 10 times as often as another is an info. It becomes a
    warning at the end of the run where a rare class is predicted less than a tenth as often as it occurs, in all
    validations and in the later half of them. Where you log a recall that ends below a third, a third is the limit
    instead of a tenth, and in the later half only right answers count.

    Not where something is added to the outputs on their way to the loss (logit adjustment), nor where a focal loss
    weights each label by how wrong its answer is (a detector's answers stay below one half), nor where the run is
    judged by a ranking alone (AUC, average precision) or by its probabilities (Brier): then nobody cuts at one half,
    and those of a rare class may all be below it; nor where the outputs are the same for every input (GW311).
    Silent of a language model, whose inputs are looked up in a table of one row a class: letters and words come as
    often as they do.

    ## Why it matters
    With 1 % positives, "never" is right in 99 % of the cases: loss and accuracy look fine, and the model is useless.

    ## What you see in the chart
    A loss that falls at once to the entropy of the labels and stays there; accuracy equal to the largest class's share.

    ## What to try
    - Set the bias of the last layer to the log of the class shares.
    - Class weights or a balanced sampler, not both; or focal loss with γ = 2.
    - Judge by macro-F1 or AUC.

    ## Example
    ```python
    F.binary_cross_entropy_with_logits(logits, y, pos_weight=negatives / positives)
    ```

    ## References
    - Lin et al. 2017, *Focal Loss for Dense Object Detection*.
    - 10: SageMaker Debugger ClassImbalance; the share of predictions is ours.
    """

    code = "GW203"
    name = "class-imbalance"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 6
    chart = "loss"
    tier = "facts"
    clears_after = 5
    stage = Stage.STATISTICS

    @dataclass(frozen=True)
    class Params:
        """How rare, and how rarely predicted."""

        ratio: float = threshold(10.0, unit="most common / rarest", low=2.0, high=1000.0, source="SageMaker Debugger")
        per_class: int = threshold(50, unit="labels per class", low=5, high=1000, source="ours: the shares are known")
        recall: float = threshold(0.1, unit="predictions per label", low=0.0, high=1.0, source="ours")
        recall_asked: float = threshold(
            1 / 3,
            unit="predictions per label, where recall is logged",
            low=0.0,
            high=1.0,
            source="ours: recall is that at most, and two of three are missed",
        )
        never: int = threshold(
            100, unit="labels of a class that is never predicted", low=10, high=10_000, source="ours: no chance"
        )
        few: int = threshold(3, unit="validation batches, then", low=1, high=100, source="ours: not one odd batch")
        batches: int = threshold(
            6, unit="validation batches", low=5, high=10_000, source="ours: rare classes are learned late"
        )
        rare_labels: int = threshold(10, unit="labels", low=1, high=1000, source="ours: a class that was really seen")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the label counts, then the predictions."""
        call = loss_call(window)
        if call is None:
            yield NOT_SEEN
            return
        labels = call.labels
        if call.function not in CROSS_ENTROPIES | BINARY or len(labels) < 2:
            yield NotEvaluated("the loss was not called with class labels of two classes")
            return
        if answers_in_signs(window):
            yield NotEvaluated(
                "the classes are the signs of a text that the model reads too: their shares are no fault"
            )
            return
        needed = params.per_class * len(labels)
        if sum(labels.values()) < needed:
            yield NotEvaluated(f"{needed} labels are needed, {sum(labels.values())} are in")
            return
        common, rare = max(labels, key=lambda item: labels[item]), min(labels, key=lambda item: labels[item])
        ratio = labels[common] / labels[rare]
        if ratio <= params.ratio:
            return
        whole, *later = _validations(window) or [{}]
        asked = low_recall(window, params.recall_asked)
        limit = params.recall_asked if asked else params.recall
        missed = _missed_in(whole, common, limit, params)
        if any(_missed_in(side, common, limit, params, right=bool(asked)) is None for side in later):
            missed = None  # the answers of an untrained model are beside the point
        if call.previous_op.startswith("AddBackward"):
            missed = None  # the log of the shares is added in the loss; predictions are made without it
        if _focused(window, call.reduction):
            missed = None  # answers for a rare class may all be below one half, and are meant to be
        plain = missed is not None and not missed[1] and missed[2] >= params.never  # and few batches are enough
        if not window.final or int(whole.get("batches") or 0) < (params.few if plain else params.batches):
            missed = None
        share = labels[common] / sum(labels.values())
        same = SAME_ANSWERS in window.open_codes
        if missed and same:
            missed = None  # who answers the same whatever comes in has not chosen between the classes
        if missed and _hard(window, labels):
            missed = None  # rare ones of many classes come last, and this task is far from learned
        if missed and judged_by_ranks(window):
            missed = None  # a ranking needs no answer above one half
        if missed:
            message = (
                f"Class {missed[0]} makes up {percent(labels.get(missed[0], 0) / sum(labels.values()))} of the "
                "labels and "
                f"is {'hardly ever' if missed[1] < params.recall * missed[2] else 'rarely'} predicted ({missed[1]} "
                f"times in {missed[2]} labels of it); class {common} has {percent(share)}"
                + (f", and `{asked}` ends low" if asked else "")
            )
        else:
            message = f"Class {common} has {ratio:.0f} times the labels of class {rare} ({percent(share)} of all)"
        yield say(
            Severity.WARNING if missed else Severity.INFO,
            message,
            "Weight the classes (weight= or pos_weight=) or balance the sampler, and judge by macro-F1 or AUC "
            "instead of "
            "accuracy.",
            numbers={"ratio": ratio, "largest_share": share, "classes": len(labels)},
            series=("loss",),
            limit=params.ratio,
            explains=() if same else ("GW805",),
        )


def _missed_in(
    side: Mapping[str, Any], common: int, limit: float, params: ClassImbalance.Params, *, right: bool = False
) -> tuple[int, int, int] | None:
    """Finds the rare class that is missed worst in some validations, where the common class takes over. `right` counts
    no answer for it that was wrong, where somebody knows."""
    wanted, answered = counts_of(side.get("label_counts")), counts_of(side.get("prediction_counts"))
    taken = side.get("taken_for") or () if right else ()
    if not all(0 <= label < len(taken) for label in (common, *wanted)):
        return _missed(wanted, answered, limit, params) if _favours(common, wanted, answered) else None
    others = sum(count for label, count in wanted.items() if label != common)
    lost = sum(taken[label][common] for label in wanted if label != common)
    hits = {label: int(taken[label][label]) for label in wanted}
    return _missed(wanted, hits, limit, params) if 2 * lost >= others else None


def _validations(window: Window) -> list[Mapping[str, Any]]:
    """Gives what all validations held, then the later half of them."""
    whole = window.fact("loss_call").get("validation")
    sides = [whole, whole.get("later_half")] if isinstance(whole, Mapping) else []
    return [side for side in sides if isinstance(side, Mapping) and side.get("prediction_counts")]


def _focused(window: Window, reduction: str) -> bool:
    """Says whether the losses of single labels are weighted by a power of their answers, as a focal loss does it."""
    if reduction != "none" or window.fact("loss_call").get("alone") is not False:
        return False
    return any(str(name).startswith("Pow") for name in window.fact("graph").get("operations") or ())


def _hard(window: Window, labels: Mapping[int, int]) -> bool:
    """Says whether there are many classes and much of what their labels hold is still unknown to the model."""
    parts = loss_quarters(window)
    return len(labels) > MANY and parts is not None and parts.q4 > UNKNOWN * entropy(labels)


def _favours(common: int, labels: Mapping[int, int], predictions: Mapping[int, int]) -> bool:
    """Says whether the most common class takes over: at least half of what belongs to the others goes to it."""
    if not labels or not predictions:
        return False
    share = labels.get(common, 0) / sum(labels.values())
    return predictions.get(common, 0) / sum(predictions.values()) >= share + 0.5 * (1 - share)


def _missed(
    labels: Mapping[int, int], predictions: Mapping[int, int], limit: float, params: ClassImbalance.Params
) -> tuple[int, int, int] | None:
    """Finds the rare class that is missed worst: the class, its predictions, its labels."""
    total, classes = sum(labels.values()), len(labels)
    worst: tuple[int, int, int] | None = None
    for item, count in labels.items():
        rare = count < total / (2 * classes) and count >= params.rare_labels
        missed = predictions and rare and predictions.get(item, 0) < limit * count
        if missed and (worst is None or count > worst[2]):
            worst = (item, predictions.get(item, 0), count)
    return worst
