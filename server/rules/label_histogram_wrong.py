"""GW110: the labels are all the same, or training and validation have different ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._loss_call import (
    BINARY,
    CROSS_ENTROPIES,
    NOT_SEEN,
    REGRESSION,
    LossCall,
    counts_of,
    entropy,
    loss_call,
    spread_of,
)
from server.rules._progress import is_stuck, loss_quarters
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold

WITHOUT_LOADER = 500  # steps
IN_RUNS = 0.5  # of the entropy of all labels, within a batch
LEARNED = 0.5  # of the first losses


class LabelHistogramWrong(Rule):
    """The run has labels that cannot be right, or that differ between the sets

    ## What it does
    Counts the class ids that reach the loss. One single value among many outputs is an error. Where the loss is also
    called on validation batches, the two histograms are compared: half the sum of the absolute differences of their
    shares (total variation) above 0.15 plus its sampling error is a warning, an info where class weights were passed
    (not where a step asks for losses of several batches one by one: labels that the model guesses are no data); of less
    than 200 labels that is judged at the end, with the sampling error of one evaluation. Labels that come in batches of
    one class count once a batch: of sorted data a few batches are no sample. At the end of a run, three times as many
    outputs as classes ever came (0 to K−1, none of them rare) is a warning: a head that was made for other data; an
    info where the loss fell below half all the same. Texts are left out: their vocabulary is larger than one run's.
    Where nearly all validation examples of each class are taken for one class, and two or more classes for each
    other's, though the training loss fell, the sets number their classes differently: an error. At the end of a run the
    only label under a binary loss, or of two classes, is an error too. Of regression targets it compares mean and
    deviation: validation targets five deviations away and three times as wide were not scaled.

    ## Why it matters
    Labels that a cast or a scaling has destroyed train a model that always says the same. A validation set with other
    labels (sorted split, wrong join, another mapping of names to ids) makes every validation number useless.

    ## What you see in the chart
    A training loss that falls to 0 at once; or a validation loss that has nothing to do with the training loss.

    ## What to try
    - Print `labels[:50]` right before the loss and again where they are read from disk.
    - Shuffle before you split, or split by class (`stratify=`).
    - One mapping from names to ids for both sets.

    ## Example
    ```python
    train, val = data[:8000], data[8000:]                       # wrong when the file is sorted by class
    train, val = random_split(data, [8000, 2000])               # right
    ```

    ## References
    - Total variation distance; its sampling error is below √(C/n).
    - 0.15 is ours: random splits of 200 labels stay below the error term alone.
    """

    code = "GW110"
    name = "label-histogram-wrong"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 8
    chart = "loss"
    tier = "facts"
    clears_after = None
    stage = Stage.DATA
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How many labels must be seen, and how far the histograms may lie apart."""

        labels: int = threshold(200, unit="labels", low=20, high=1_000_000, source="ours: rare classes show up")
        small: int = threshold(
            20, unit="labels of a small set", low=10, high=1000, source="ours: the sampling error does the rest"
        )
        per_class: int = threshold(
            20, unit="labels per output", low=1, high=1000, source="ours: every class had a chance"
        )
        distance: float = threshold(
            0.15, unit="total variation", low=0.01, high=1.0, source="ours: beyond a random split"
        )
        errors: float = threshold(
            2.0, unit="sampling errors", low=1.0, high=10.0, source="√(C/n) bounds the sampling error"
        )
        spare: float = threshold(
            3.0, unit="outputs per class", low=1.5, high=1000.0, source="ours: twice as many may be kept for later"
        )

        renumbered: float = threshold(
            0.7, unit="of the answers", low=0.5, high=1.0, source="ours: they would be right under other numbers"
        )
        renumbered_many: float = threshold(
            0.6, unit="of the answers", low=0.5, high=1.0, source="ours: of three classes or more chance is far below"
        )
        wrong: float = threshold(0.25, unit="of the answers", low=0.1, high=1.0, source="ours: far more than chance")
        answers: int = threshold(60, unit="answers", low=20, high=1_000_000, source="ours: no coincidence")
        each: int = threshold(10, unit="answers of a class", low=3, high=1000, source="ours: one that is rare is noise")
        batches: int = threshold(3, unit="batches", low=1, high=1000, source="ours: the first targets are typical")
        apart: float = threshold(5.0, unit="deviations of the targets", low=2.0, high=1e3, source="ours: no split does")
        times: float = threshold(3.0, unit="times the deviation", low=1.5, high=1e3, source="ours: no split does")
        same_answers: float = threshold(3.0, unit="times the deviation", low=1.0, high=100.0, source="ours: as trained")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the label counts of the fact `loss_call`."""
        call = loss_call(window)
        if call is None:
            yield NOT_SEEN
            return
        if call.function in REGRESSION and (verdict := _other_scale(window, call, params)) is not None:
            yield verdict
            return
        if call.function not in CROSS_ENTROPIES | BINARY or not call.labels:
            yield NotEvaluated(f"{call.function} was not called with class ids")
            return
        seen, outputs = sum(call.labels.values()), call.classes or 0
        if outputs >= 3 and len(call.labels) == 1 and call.function in CROSS_ENTROPIES:
            if _only_sorted(window):
                yield NotEvaluated(
                    "the data are not shuffled: judged after the first epoch", "DataLoader(…, shuffle=True)"
                )
            elif seen >= max(params.labels, params.per_class * outputs):
                yield _single(next(iter(call.labels)), seen, outputs)
            return
        alone = outputs == 2 or (call.function in BINARY and call.calls_per_step <= 1)
        judged = window.final and seen >= params.labels and not window.gates.moving_target
        if len(call.labels) == 1 and alone and judged:
            yield _single(next(iter(call.labels)), seen, outputs)
            return
        if (verdict := _renumbered(window, call, params)) is not None:
            yield verdict
            return
        if "GW111" in window.open_codes:
            return
        spare = _spare_outputs(window, call, params)
        if spare is not None:
            yield spare
            return
        validation = window.fact("loss_call").get("validation")
        other = counts_of(validation.get("label_counts")) if isinstance(validation, Mapping) else {}
        fewest, needed = min(seen, sum(other.values())), params.labels
        times = window.series("val/loss").count
        if fewest < needed and window.final and times:  # a small set, whose rows came again in every evaluation
            fewest, needed = min(seen, sum(other.values()) // times), params.small
        if fewest < needed:
            yield NotEvaluated(
                f"{needed} labels of the training and of the validation are needed, {fewest} are in",
                "compute the validation loss with the same function, under torch.no_grad()",
            )
            return
        if call.calls_per_step > 1 and call.reduction == "none":
            yield NotEvaluated("the loss is asked for several losses a step, one by one: some labels may be guesses")
            return
        classes = set(call.labels) | set(other)
        distance = 0.5 * sum(
            abs(call.labels.get(item, 0) / seen - other.get(item, 0) / sum(other.values())) for item in classes
        )
        in_runs = call.batch_entropy is not None and call.batch_entropy < IN_RUNS * entropy(call.labels)
        fewest = min(fewest, sum(other.values()) // max(times, 1))  # the same rows come in every evaluation
        drawn = min(fewest, call.batches) if in_runs else fewest
        limit = params.distance + params.errors * math.sqrt(len(classes) / drawn)
        if distance > limit:
            meant = bool(call.arguments.get("weight")) or bool(window.fact("data").get("uneven"))
            yield _different(call.labels, other, distance, limit, meant)


def _spare_outputs(window: Window, call: LossCall, params: LabelHistogramWrong.Params) -> Verdict | None:
    """Finds outputs that no label of the whole run asked for; classes that come one after another are not over yet."""
    seen, outputs = len(call.labels), call.classes or 0
    texts = window.fact("loss_call").get("places") or len(call.input.shape) != 2
    declared = window.gates.finetune or window.gates.resumed
    if call.function not in CROSS_ENTROPIES or not window.final or texts or declared or seen < 2:
        return None
    if outputs < params.spare * seen or max(call.labels) != seen - 1 or call.of_places:
        return None
    validation = window.fact("loss_call").get("validation")
    other = counts_of(validation.get("label_counts")) if isinstance(validation, Mapping) else {}
    if min(call.labels.values()) < params.per_class or max(other, default=0) >= seen:
        return None
    parts = loss_quarters(window)  # who learned has learned to leave them alone
    return say(
        Severity.INFO if parts is not None and parts.q4 < LEARNED * abs(parts.start) else Severity.WARNING,
        f"The model has {outputs} outputs, and all {sum(call.labels.values()):,} labels of the run are between 0 and "
        f"{seen - 1}: {outputs - seen} outputs are for classes that do not exist",
        f"Give the last layer {seen} outputs (model.fc = nn.Linear(in_features, {seen}) on a finished architecture).",
        numbers={"outputs": outputs, "classes": seen},
        series=("loss",),
        limit=params.spare * seen,
        stage=Stage.FIRST_LOSS,
        exact=False,
    )


def _other_scale(window: Window, call: LossCall, params: LabelHistogramWrong.Params) -> Verdict | None:
    """Compares regression targets of both sets, where the answers that they are compared with stayed on one scale."""
    validation = window.fact("loss_call").get("validation")
    if not isinstance(validation, Mapping) or call.batches < params.batches:
        return None
    theirs, answers = spread_of(validation.get("target")), spread_of(validation.get("input"))
    numbers = (call.target.mean, call.target.std, theirs.mean, theirs.std, call.input.std, answers.std)
    mean, std, other_mean, other_std, usual, now = (math.nan if item is None else item for item in numbers)
    if not std > 0 or not now <= params.same_answers * max(usual, std):
        return None
    if not (abs(other_mean - mean) > params.apart * std and other_std > params.times * std):
        return None
    return say(
        Severity.ERROR,
        f"Training targets are {mean:.3g} ± {std:.2g} and validation targets {other_mean:.3g} ± {other_std:.2g}, while "
        f"the answers they are compared with stay within ± {now:.2g}: only one of the sets was scaled",
        "Scale the targets of both sets with the mean and deviation of the training set, or scale the predictions back "
        "before they are compared.",
        numbers={"mean": mean, "std": std, "validation_mean": other_mean, "validation_std": other_std},
        series=("loss", "val/loss"),
        limit=params.apart * std,
    )


def _renumbered(window: Window, call: LossCall, params: LabelHistogramWrong.Params) -> Verdict | None:
    """Finds classes that validation takes for each other, one for one: it would be right under other numbers."""
    gates, validation = window.gates, window.fact("loss_call").get("validation")
    later = validation.get("later_half") if isinstance(validation, Mapping) else None
    rows = later.get("taken_for") if isinstance(later, Mapping) else None
    if not isinstance(later, Mapping) or not isinstance(rows, list) or int(later.get("batches") or 0) < params.batches:
        return None
    if call.function not in CROSS_ENTROPIES or gates.moving_target or gates.finetune or gates.resumed:
        return None
    table = np.array(rows, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or table.sum() < params.answers:
        return None
    came = np.flatnonzero(table.sum(1))
    taken = {int(label): int(np.argmax(table[label])) for label in came}
    if len(came) < 2 or len(set(taken.values())) < len(came) or table[came].sum(1).min() < params.each:
        return None
    under = sum(table[label, other] for label, other in taken.items()) / table.sum()
    right = float(np.trace(table)) / table.sum()
    least = params.renumbered if len(came) < 3 else min(params.renumbered, params.renumbered_many)
    moved = {label: other for label, other in taken.items() if label != other}
    if not moved or set(moved) != set(moved.values()) or under < least or under - right < params.wrong:
        return None
    parts = loss_quarters(window)
    if parts is None or is_stuck(parts):
        return None  # who learned nothing, takes all for anything
    return say(
        Severity.ERROR,
        f"{percent(right)} of the validation answers are right, and {percent(under)} would be with other numbers "
        f"of classes ({', '.join(f'{label} is taken for {other}' for label, other in list(moved.items())[:4])}): "
        "the two sets number their classes differently",
        "Make one mapping from names to class ids of the training set and use it for both (fit the LabelEncoder once, "
        "then transform; ImageFolder numbers the folders that it finds).",
        numbers={"right": right, "under_other_numbers": float(under), "moved": len(moved)},
        series=("val/loss", "loss"),
        limit=params.renumbered,
    )


def _only_sorted(window: Window) -> bool:
    """Says whether the first epoch of data that are not shuffled goes on: sorted labels look like equal ones."""
    data = window.fact("data")
    if data.get("loader") is False:  # sliced by the loop: nobody knows in which order
        return not window.final and window.samples < WITHOUT_LOADER
    return data.get("shuffle") is False and int(data.get("epochs") or 0) < 2 and not window.final


def _single(label: int, seen: int, outputs: int) -> Verdict:
    return say(
        Severity.ERROR,
        f"All {seen:,} labels seen so far are {label}, "
        + (f"while the model has {outputs} outputs" if outputs > 1 else "so a constant answer makes the loss small"),
        "Print the labels where they are read and where they reach the loss: a cast to int of values in [0, 1], "
        "an index "
        "into the wrong column or a sorted file makes them equal.",
        numbers={"labels": seen, "outputs": outputs},
        series=("loss",),
        limit=1.0,
    )


def _different(
    train: Mapping[int, int], other: Mapping[int, int], distance: float, limit: float, meant: bool
) -> Verdict:
    total, total_other = sum(train.values()), sum(other.values())
    worst = max(
        set(train) | set(other), key=lambda item: abs(train.get(item, 0) / total - other.get(item, 0) / total_other)
    )
    return say(
        Severity.INFO if meant else Severity.WARNING,
        f"Training and validation labels differ: class {worst} makes up {percent(train.get(worst, 0) / total)} of the "
        f"training and {percent(other.get(worst, 0) / total_other)} of the validation (total variation {distance:.2f}, "
        f"limit {limit:.2f})",
        "Shuffle before splitting (random_split, or stratify=labels) and use one mapping from names to class ids "
        "for both "
        "sets. If the training is resampled on purpose, judge by a metric that does not depend on class shares.",
        numbers={"distance": distance, "training_labels": total, "validation_labels": total_other},
        series=("loss", "val/loss"),
        limit=limit,
    )
