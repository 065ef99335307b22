"""GW805: whole classes are never predicted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._loss_call import CROSS_ENTROPIES, NOT_SEEN, counts_of, entropy, loss_call
from server.rules._progress import loss_quarters, still_falling
from server.rules._say import say
from server.rules._vocabulary import answers_in_signs
from server.rules.base import Rule, Stage, threshold

SEQUENCE = 3  # dimensions of outputs for each place of a text: which sign comes next is often undecided


class ClassCollapse(Rule):
    """The run has classes that the model never predicts

    ## What it does
    At the end of the run: classes with at least 30 labels, and a fair share of them where they are many, that were not
    predicted a single time where ten times were to be expected, in validation if its loss is computed with the same
    function, else in training. An info while the loss still falls, and where some of very many classes, or of the signs
    of a sequence, are missing and the loss is still above half of the labels' entropy (a language model whose next
    letter is a guess need never put a rare one first), else a warning. Where more than half of them are missing it is
    one only while the loss is near that entropy, which a constant answer gets too. Cross-entropies of single labels
    from which something else is made (a preference, a policy's ratio) are likelihoods: no say.

    ## Why it matters
    The accuracy can look fine while whole classes are lost.

    ## What you see in the chart
    A loss that stops at the entropy of the classes that are left.

    ## What to try
    - Look for the cause first: imbalance, a learning rate that was too high at the start, a dead layer.
    - Class weights, a sampler that balances, or focal loss (γ = 2).

    ## Example
    ```python
    F.cross_entropy(logits, y, weight=1 / class_shares)
    ```

    ## References
    - Lin et al. 2017, *Focal Loss for Dense Object Detection*.
    - 30 labels are ours.
    """

    code = "GW805"
    name = "class-collapse"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 6
    chart = "loss"
    tier = "facts"
    clears_after = 5
    stage = Stage.GUESSING

    @dataclass(frozen=True)
    class Params:
        """How many labels a class must have."""

        labels: int = threshold(30, unit="labels", low=5, high=10_000, source="ours: a class that is really there")
        share: float = threshold(
            0.05, unit="of the labels", low=0.0, high=0.5, source="ours: or a fair share, where classes are many"
        )
        batches: int = threshold(
            30, unit="batches", low=5, high=10_000, source="ours: the first ones show an untrained net"
        )

        expected: float = threshold(
            10.0, unit="answers, at the labels' share", low=1.0, high=1e4, source="ours: chance leaves out one of e^10"
        )
        validations: int = threshold(
            3, unit="batches of validation", low=1, high=1_000, source="ours: or so many of these, of a short run"
        )
        many: int = threshold(
            20, unit="classes", low=3, high=100_000, source="ours: from here on a hard task need not name each of them"
        )
        few: float = threshold(0.5, unit="of the classes", low=0.0, high=1.0, source="ours: more is a collapse")
        guessing: float = threshold(
            0.5, unit="of the labels' entropy", low=0.0, high=1.0, source="ours: the largest output is often wrong"
        )
        learned: float = threshold(
            0.95, unit="of the labels' entropy", low=0.0, high=1.0, source="ours: below it the answers are not all one"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Compares labels and predictions."""
        call = loss_call(window)
        if call is None:
            yield NOT_SEEN
            return
        fact = window.fact("loss_call")
        validation = fact.get("validation")
        side = validation if isinstance(validation, Mapping) and validation.get("prediction_counts") else fact
        labels, predictions = counts_of(side.get("label_counts")), counts_of(side.get("prediction_counts"))
        if call.function not in CROSS_ENTROPIES or not labels or not predictions or not window.final:
            yield NotEvaluated("judged at the end of a classification")
            return
        if fact.get("alone") is False and call.reduction == "none":
            yield NotEvaluated("cross-entropies of single labels are combined: as likelihoods they want no class first")
            return
        if call.of_places:
            yield NotEvaluated("the labels are the places of the batch's own rows, which are no classes")
            return
        # a validation shows what became of the model, and the first batches of a training what it was
        where = "validation" if side is validation else "training"
        late = side is validation and int(side.get("batches") or 0) >= params.validations
        if call.batches < params.batches and not late:
            yield NotEvaluated(f"{params.batches} batches must have been looked at, {call.batches} were")
            return
        # of many classes (the characters of a text) the rarer ones need not come first anywhere
        least = max(params.labels, sum(labels.values()) * min(params.share, 1 / len(labels)))
        # of some rows, where classes are many, which are the same ones in every evaluation
        answers = sum(predictions.values()) / max(window.series("val/loss").count if side is validation else 1, 1)
        expected = {item: count / sum(labels.values()) * answers for item, count in labels.items()}
        known = [item for item, count in labels.items() if count >= least and expected[item] >= params.expected]
        lost = [item for item in known if not predictions.get(item)]
        if lost and len(known) >= 2:
            parts = loss_quarters(window)
            falling = parts is not None and still_falling(parts, window.loss.values, any_fall=True)
            guessing = (
                parts is not None
                and (len(labels) > params.many or len(call.input.shape) == SEQUENCE)
                and parts.q4 > params.guessing * entropy(labels)
                and (len(lost) < params.few * len(known) or parts.q4 < params.learned * entropy(labels))
            )
            yield say(
                Severity.INFO if falling or guessing else Severity.WARNING,
                f"{len(lost)} of {_which(len(known), len(labels))} {'was' if len(lost) == 1 else 'were'} never "
                f"predicted in {where} (class {lost[0]} was the label {labels[lost[0]]} times)"
                + (", while the loss still falls" if falling else ""),
                "Look for what made the outputs collapse"
                + ("." if answers_in_signs(window) else "; then class weights or a balanced sampler."),
                numbers={"lost": len(lost), "classes": len(known)},
                strings={"classes": ", ".join(map(str, lost[:50]))},
                series=("loss", "val/loss"),
                limit=0.0,
            )


def _which(known: int, seen: int) -> str:
    """Names the classes that are judged: all that were seen, or those of them that came often enough."""
    return f"{known} classes" if known == seen else f"the {known} commonest of {seen} classes"
