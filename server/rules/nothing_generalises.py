"""GW112: the training learns, and nothing of it holds for the validation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Floats
from server.domain.statistics import finite
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
from server.rules._progress import loss_quarters
from server.rules._say import say
from server.rules._validation import Evaluations, beats_the_commonest, evaluations, far_off
from server.rules.base import Rule, Stage, threshold

LEARNED = 0.1  # of what a constant answer costs
LUCKY = 0.1  # of what a constant answer costs: no luck is larger
SAME = 0.1  # of a loss, as it is logged and as it was computed
MOSTLY_RIGHT = 0.5  # of what naming the most common class leaves to gain


class NothingGeneralises(Rule):
    """The run has a model that learns its training set and nothing else

    ## What it does
    At the end of a classification, of yes or no too: the best validation loss is not even 2 % below what a constant
    answer gets there (or by chance alone, where the later ones are above it), the shares of the training labels, while
    the training loss is clearly below their entropy; an accuracy above that of the commonest class is excuse enough
    unless the loss is about twice as high from the first evaluation on. Of a squared error, where `val/loss` is the
    error that the validation computed: no validation was even 2 % below what the mean of the training targets gets
    there, while the training went a tenth below their variance. And as soon as it is seen: a sampler with fewer weights
    than there are examples, which never draws those behind.

    ## Why it matters
    That is no overfitting, where validation improves first. Inputs and labels do not belong together (most common), or
    validation is prepared in another way than training.

    ## What you see in the chart
    A training curve that falls and a validation curve that never does.

    ## What to try
    - Look at ten training examples with their labels, as the model gets them.
    - Run the same preprocessing on both sets; compare mean and standard deviation of their inputs.
    - Train on ten examples and evaluate on the same ten.

    ## Example
    ```python
    files.sort(); labels = read("labels.csv")      # wrong if the file is in another order
    ```

    ## References
    - PyTorch, `torch.utils.data.WeightedRandomSampler`: it draws from as many indices as there are weights.
    - Zhang et al. 2017, *Understanding deep learning requires rethinking generalization*: networks fit random labels.
    - 2 % and 3 standard errors are ours.
    """

    code = "GW112"
    name = "nothing-generalises"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 5
    needs = (Kind.VALIDATION, Kind.LOSS)
    chart = "loss"
    clears_after = None
    stage = Stage.GENERALISATION
    levels = {"entropy": "a constant answer", "the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How little is nothing."""

        share: float = threshold(
            0.98, unit="of the entropy of the labels", low=0.5, high=1.0, source="ours: 2 % is luck"
        )
        evaluations: int = threshold(5, unit="evaluations", low=2, high=1000, source="ours: one may come too early")
        labels: int = threshold(200, unit="labels", low=20, high=1_000_000, source="the entropy must be known")
        known: float = threshold(
            0.1,
            unit="of the entropy, its standard error",
            low=0.01,
            high=1.0,
            source="ours: a rare class must have come often enough",
        )
        errors: float = threshold(3.0, unit="standard errors", low=1.0, high=10.0, source="beyond the noise")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Compares both losses with the entropy of the training labels."""
        data = window.fact("data")
        weights, examples = int(data.get("weights") or 0), int(data.get("dataset_size") or 0)
        if 0 < weights < examples:
            yield _never_drawn(weights, examples)
            return
        call, found, parts = loss_call(window), evaluations(window), loss_quarters(window)
        labels = sum(call.labels.values()) if call else 0
        if not window.final or found is None or len(found) < params.evaluations or parts is None:
            yield NotEvaluated(
                f"judged at the end, with {params.evaluations} validation losses", "monitor.validation(loss)"
            )
            return
        if call is not None and call.function == "mse_loss":
            yield from _worse_than_the_mean(window, call, found, params)
            return
        if (
            call is None
            or not _of_single_labels(call)
            or call.reduction != "mean"
            or labels < params.labels
            or len(call.labels) < 2
        ):
            yield NotEvaluated(f"it needs a mean cross-entropy over class ids, and {params.labels} labels of it")
            return
        chance = entropy(call.labels)
        if entropy_error(call.labels) > params.known * chance:
            rarest = min(call.labels.values())
            yield NotEvaluated(f"a class came {rarest} times only, so what a constant answer gets is not known well")
            return
        best, there = float(found.values.min()), max(_told_there(window, call.labels, params.labels) or 0.0, chance)
        trained, error = _mean_of_last_quarter(window.loss.values)
        learned = chance - trained
        if beats_the_commonest(window, call.labels, MOSTLY_RIGHT if far_off(found, there) else 0.0):
            return  # it does generalise; that it is too sure of itself is GW801
        if best + _luck(found, there, params) >= params.share * there and learned > max(
            params.errors * error, LEARNED * chance
        ):
            yield say(
                Severity.WARNING,
                f"The training loss went down to {trained:.4g}, but the validation loss was "
                + (
                    f"never below {best:.4g}; a constant answer gets {there:.4g} "
                    if best >= params.share * there
                    else f"{best:.4g} at best, as chance alone has it in {len(found)} evaluations, and later above "
                    f"the {there:.4g} that a constant answer gets "
                )
                + ("(the shares of the training labels)" if there > chance else "(the entropy of the labels)"),
                "Look at ten training examples with their labels as the model gets them: do they belong together? Then "
                "compare the preprocessing of the two sets.",
                numbers={"entropy": there, "best_validation": best, "training": trained},
                series=("val/loss", "loss"),
                limit=params.share * there,
            )


def _worse_than_the_mean(
    window: Window, call: LossCall, found: Evaluations, params: NothingGeneralises.Params
) -> Iterator[Verdict | NotEvaluated]:
    """Finds a regression whose validation was never better than the mean of the training targets would be there."""
    held = window.fact("loss_call").get("validation")
    held = held if isinstance(held, Mapping) else {}
    targets = spread_of(held.get("target"))
    spread, mean = targets.std, targets.mean
    known = (
        call.alone
        and call.reduction == "mean"
        and not call.broadcast
        and call.batches * call.batch_size >= params.labels
    )
    if not known or not spread or mean is None or not call.target.std or call.target.mean is None:
        yield NotEvaluated("it needs a mean squared error alone as the loss, in training and in validation")
        return
    seen, logged = held.get("value"), float(np.mean(finite(found.values)))
    if not isinstance(seen, (int, float)) or abs(seen - logged) > SAME * abs(logged):
        yield NotEvaluated("val/loss is not the mean squared error that the validation computed")
        return
    there, best = spread**2 + (mean - call.target.mean) ** 2, float(found.values.min())
    trained, error = _mean_of_last_quarter(window.loss.values)
    learned = call.target.std**2 - trained
    if best < params.share * there or learned < max(params.errors * error, LEARNED * call.target.std**2):
        return
    yield say(
        Severity.WARNING,
        f"The training loss went down to {trained:.4g}, but the validation loss was never below {best:.4g}; the mean "
        f"of the training targets gets {there:.4g} there",
        "Look at ten training examples with their targets as the model gets them: do they belong together? Then "
        "compare the preprocessing of the two sets.",
        numbers={"variance": there, "best_validation": best, "training": trained},
        series=("val/loss", "loss"),
        limit=params.share * there,
    )


def _of_single_labels(call: LossCall) -> bool:
    """Says whether the loss is a cross-entropy of one label for each example, yes or no included, without weights."""
    if call.arguments.get("weight") or call.arguments.get("pos_weight"):
        return False
    yes_or_no = call.target.integer and call.target.distinct == 2 and (call.classes or 1) == 1
    return call.function in CROSS_ENTROPIES or (call.function in BINARY and yes_or_no)


def _luck(found: Evaluations, there: float, params: NothingGeneralises.Params) -> float:
    """Gives how far the best of many evaluations may lie below by chance, where later ones usually lie above a constant
    answer: it is the least of all, and one evaluation is that uncertain."""
    later = found.values[len(found) // 2 :]
    return min(params.errors * found.noise, LUCKY * there) if float(np.median(later)) >= there else 0.0


def _told_there(window: Window, labels: Mapping[int, int], needed: int) -> float | None:
    """Gives what the shares of the training labels get as an answer to all of the validation, whose labels may have
    other shares; None where its labels are not known."""
    side = window.fact("loss_call").get("validation")
    asked = counts_of(side.get("label_counts")) if isinstance(side, Mapping) else {}
    total, count = sum(labels.values()), sum(asked.values())
    if count < needed or not set(asked) <= set(labels):
        return None
    return -sum(share / count * math.log(labels[item] / total) for item, share in asked.items() if share)


def _never_drawn(weights: int, examples: int) -> Verdict:
    return say(
        Severity.WARNING,
        f"The sampler has {weights:,} weights for {examples:,} examples: it draws the first {weights:,} alone, and all "
        "others never",
        "Give WeightedRandomSampler a weight for every example, not for every class: class_weights[labels].",
        numbers={"weights": weights, "examples": examples},
        series=("loss", "val/loss"),
        limit=float(examples),
    )


def _mean_of_last_quarter(losses: Floats) -> tuple[float, float]:
    """Gives the mean with its standard error: validation is a mean too, and where a class is rare the median batch has
    none of it."""
    kept = finite(losses)
    last = kept[-max(len(kept) // 4, 1) :]
    return float(np.mean(last)), float(np.std(last)) / math.sqrt(len(last))
