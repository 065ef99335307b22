"""GW311: the model gives the same answer whatever it is asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.statistics import finite, med, median_error
from server.rules._layers import layers
from server.rules._loss_call import CROSS_ENTROPIES, REGRESSION, entropy, entropy_error, loss_call, own_operations
from server.rules._progress import SURE_ERRORS
from server.rules._rates import guesses_gradients
from server.rules._say import percent, say
from server.rules._validation import evaluations
from server.rules._views_agree import views_agree
from server.rules.base import Rule, Stage, threshold

OF_PAIRS = frozenset({"cosine_embedding_loss", "triplet_margin_loss", "hinge_embedding_loss", "mse_loss"})
FEWEST_PARTS = 4  # numbers in an answer that is a vector
FEWEST_SINCE, SINCE = 3, 0.75  # evaluations; of the lowest validation loss before
SUNK = 0.5  # of the first losses: outputs that came together took the loss along
LOGIT = 4.0  # it moves a probability by a quarter of itself at most
ENERGY = 0.04  # what is known of the scale of a score that no probability is made of: next to nothing
PROBABLE = ("Sigmoid", "LogSigmoid", "Softplus", "Exp", "Log")
NEWEST, SURELY_BELOW = 20, 0.97  # losses; of the entropy of the labels


class ConstantOutput(Rule):
    """The run has a model that gives the same answer to everything

    ## What it does
    Measures how much the outputs differ within a batch: less than a thousandth of their overall spread (of the targets'
    spread for a regression, of a probability for a single logit; a hundredth of that for a score of which no
    probability is made), in at least 5 of the newest samples; or one class in
    more than 99 % of the predictions of batches of 8 and more although it makes up less than 80 % of the labels. Losses
    that are surely below the entropy of the labels, or of a cross-entropy of one's own that fell since the outputs were
    last looked at, show that they differ by now; so does a validation loss a quarter below all up to the last look. At
    the end of a run, vectors under a loss of one's own that came together to a tenth of their size while the loss went
    to 2 % of its start, and below half of it before they were last looked at; or a loss of minus the cosine of two
    outputs with a gradient on either side and no other term, which reached 90 % of what it can. And a group norm whose
    groups hold a single number each.

    ## Why it matters
    Then the network does not look at its input: it has died, saturated, or never received it.

    ## What you see in the chart
    A loss at the entropy of the labels, or at the variance of the targets.

    ## What to try
    - Look for the cause first: dead units, a learning rate that was too high at the start, inputs out of scale.
    - In evaluation only: batch norm's stored statistics.

    ## Example
    ```python
    print(model(x).std(0))      # near zero: the inputs do not matter
    ```

    ## References
    - A. Karpathy, *A Recipe for Training Neural Networks* (2019): input-independent baseline.
    - The limits are ours.
    """

    code = "GW311"
    name = "constant-output"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 9
    chart = "loss"
    tier = "facts"
    clears_after = 1  # it looks at five samples, and facts come seldom
    gates = ("moving_target",)
    stage = Stage.ANSWERS

    @dataclass(frozen=True)
    class Params:
        """How equal is the same."""

        spread: float = threshold(1e-3, unit="of the overall spread", low=1e-9, high=0.1, source="ours")
        samples: int = threshold(5, unit="samples", low=2, high=20, source="ours: not one odd batch")
        top: float = threshold(0.99, unit="of the predictions", low=0.5, high=1.0, source="ours")
        rows: int = threshold(8, unit="rows of a batch", low=2, high=1000, source="ours: of fewer, all may be alike")
        labels: float = threshold(0.8, unit="of the labels", low=0.1, high=1.0, source="ours: then it may be right")
        patience: int = threshold(200, unit="steps", low=0, high=100_000, source="ours: the common class comes first")
        learned: float = threshold(
            0.9, unit="of the first losses", low=0.1, high=1.0, source="ours: then it is learning"
        )
        warm: int = threshold(50, unit="steps", low=0, high=10_000, source="ours: zero heads start with equal answers")

        shrunk: float = threshold(0.15, unit="of the size", low=1e-3, high=0.5, source="ours: vectors of one point")
        vanished: float = threshold(0.02, unit="of the first losses", low=1e-6, high=0.5, source="ours: all but gone")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `outputs`, and norms in the model's table that leave nothing."""
        seen = False
        if (verdict := _norm_of_one(window)) is not None:
            yield verdict
            return
        if window.samples < params.warm and not window.final:
            yield NotEvaluated(f"judged after {params.warm} steps")
            return
        if len(window.loss) and not np.isfinite(window.loss.tail(3)).all():
            yield NotEvaluated("the newest losses are not finite (GW601 says more)")
            return
        if (verdict := views_agree(window)) is not None:
            yield verdict
            return
        for name, item in window.fact("outputs").items():
            for side, where in ((item, "training"), (item.get("validation"), "validation")):
                if not isinstance(side, Mapping) or len(_numbers(side, "batch_std")) < params.samples:
                    continue
                seen = True
                if where == "validation" and (_learned_since(window, side) or guesses_gradients(window)):
                    continue
                verdict = _judge(window, name, side, where, params)
                if verdict is not None:
                    yield verdict
                    return
        if not seen:
            yield NotEvaluated(
                f"{params.samples} outputs of the whole model are needed",
                "call the model itself, model(x), after watch()",
            )


def _judge(
    window: Window, name: str, side: Mapping[str, Any], where: str, params: ConstantOutput.Params
) -> Verdict | None:
    recent = _numbers(side, "batch_std")[-params.samples :]
    whole = _numbers(side, "all_std")[-params.samples :]
    shape = list(side.get("shape") or ())
    call = loss_call(window)
    single = len(shape) == 2 and shape[1] == 1
    scale = max(med(np.asarray(whole)), 1e-12)
    if call is not None and call.function in REGRESSION and call.target.std:
        scale = call.target.std
    elif single:
        scale = LOGIT if _is_logit(window) else ENERGY
    spread, apart = max(recent), _told_apart(window)
    whose = "" if name == "model" else f" of `{name}`"
    if spread < params.spread * scale and not apart:
        return say(
            Severity.ERROR,
            f"The outputs{whose} are the same for every input of a {where} batch: they differ by {spread:.2g}"
            + (f", where {scale:.2g} would be usual" if scale != ENERGY else ""),
            "Look for dead or saturated layers and for inputs out of scale; print model(x).std(0) after each stage.",
            numbers={"spread": spread, "scale": scale},
            series=("loss",),
            limit=params.spread * scale,
        )
    share = med(np.asarray([mine / max(all_of, 1e-12) for mine, all_of in zip(recent, whole, strict=False)]))
    if share < params.shrunk and _fits_one_point(window, shape, params):
        return say(
            Severity.WARNING,
            f"The outputs{whose} came together: within a {where} batch they differ by {percent(share)} of "
            "their size, and the loss is all but gone: one answer for every input makes it small",
            "Add what keeps unlike inputs apart: pairs that are not alike with a margin, a variance term, or a stopped "
            "gradient with a predictor.",
            numbers={"share": share},
            series=("loss",),
            limit=params.shrunk,
            at_once=False,
            exact=False,
        )
    top = _numbers(side, "top_share")[-params.samples :]
    labels = call.labels if call is not None else {}
    largest = max(labels.values()) / sum(labels.values()) if labels else 1.0
    rows = int(shape[0]) if shape and isinstance(shape[0], int) else 0  # of two, both are often of one class
    collapsed = len(top) >= params.samples and min(top) > params.top and largest < params.labels and len(labels) > 1
    collapsed = collapsed and rows >= params.rows
    enough = window.samples >= (params.warm if window.final else params.patience)
    if collapsed and enough and not apart and not _learning(window, params):
        return say(
            Severity.ERROR,
            f"One class gets {percent(min(top))} of the predictions{whose} in {where}, while no class has more than "
            f"{percent(largest)} of the labels",
            "Look for what made the outputs collapse: a learning rate that was too high, dead layers, a wrong bias.",
            numbers={"top_share": min(top), "largest_label_share": largest},
            series=("loss",),
            limit=params.top,
            stage=Stage.GUESSING,
        )
    return None


def _is_logit(window: Window) -> bool:
    """Says whether a single output may be the logit of a probability; not where a loss of one's own makes none of it,
    as of an energy or a critic's score."""
    own = own_operations(window)
    return not own or any(name.startswith(PROBABLE) for name in own)


def _fits_one_point(window: Window, shape: list[Any], params: ConstantOutput.Params) -> bool:
    """Says whether the outputs are vectors under a loss of one's own, which is all but gone."""
    own = not window.fact("loss_call").get("function") or window.fact("loss_call").get("function") in OF_PAIRS
    if not own or not window.final or len(shape) != 2 or shape[1] < FEWEST_PARTS or window.gates.moving_target:
        return False
    start, now = med(window.loss.values[:5]), med(window.loss.tail(20))
    return start > 0 and abs(now) < params.vanished * start and abs(_at_the_last_look(window)) < SUNK * start


def _at_the_last_look(window: Window) -> float:
    """Gives the loss when outputs were looked at for the last time: what they were then says nothing of a loss that
    went later."""
    looks = window.series("grad_norm").steps
    last = int(np.searchsorted(window.loss.steps, looks[-1], side="right")) if len(looks) else window.loss.count
    return med(finite(window.loss.values[max(0, last - 5) : last]))


def _norm_of_one(window: Window) -> Verdict | None:
    """Finds a norm over a single number: what that is minus its own mean is 0 for every input."""
    for layer in layers(window):
        shape, kind = list(layer.get("output_shape") or []), str(layer.get("type"))
        groups = (layer.get("arguments") or {}).get("num_groups")
        if kind == "GroupNorm" and isinstance(groups, int) and len(shape) >= 2 and math.prod(shape[1:]) == groups:
            name = str(layer.get("name"))
            return say(
                Severity.ERROR,
                f"`{name}` normalises {groups} groups of a single number each: a number minus its own mean is 0, "
                "whatever the input is",
                f"Give `{name}` fewer groups (1 to 32), or move it before the pooling.",
                layers=(name,),
                numbers={"groups": groups},
                series=("loss",),
                limit=1.0,
                stage=Stage.STRUCTURE,
                exact=True,
            )
    return None


def _told_apart(window: Window) -> bool:
    """Says whether the newest losses show that the outputs differ by now, though they were alike when they were last
    looked at: they are surely below the entropy of the labels, which no single answer is; or it is a cross-entropy of
    one's own, which falls no more once the shares of the classes are found, and has fallen since."""
    losses, looks = finite(window.loss.tail(NEWEST)), window.series("grad_norm").steps
    if len(losses) < NEWEST:
        return False
    now, noise = med(losses), median_error(losses)
    call = loss_call(window)
    if call is not None and call.alone and call.function in CROSS_ENTROPIES and call.reduction == "mean":
        guess, error = entropy(call.labels), math.hypot(noise, entropy_error(call.labels))
        if len(call.labels) > 1 and not call.arguments.get("weight"):
            return now < min(SURELY_BELOW * guess, guess - SURE_ERRORS * error)
    if not any(name.startswith(("Softmax", "LogSoftmax")) for name in own_operations(window)):
        return False
    last = int(np.searchsorted(window.loss.steps, looks[-1], side="right")) if len(looks) else 0
    before = finite(window.loss.values[max(0, last - NEWEST) : last])
    if len(before) < NEWEST or window.loss.count - last < NEWEST:
        return False
    return med(before) - now > max((1 - SURELY_BELOW) * abs(now), SURE_ERRORS * math.hypot(noise, median_error(before)))


def _learned_since(window: Window, side: Mapping[str, Any]) -> bool:
    """Says whether the validation loss fell by a quarter below all that were known when the outputs in validation were
    last looked at: one answer for every input costs as much as before."""
    looks, found = side.get("log_z"), evaluations(window)
    if not isinstance(looks, (list, tuple)) or not looks or found is None:
        return False
    before = found.values[found.steps <= looks[-1][0]]
    after = found.values[len(before) :]
    return len(before) > 0 and len(after) >= FEWEST_SINCE and med(after[-FEWEST_SINCE:]) < SINCE * float(np.min(before))


def _learning(window: Window, params: ConstantOutput.Params) -> bool:
    """Says whether the loss is well below its start: young networks name the most common class first."""
    losses = window.loss.values
    return len(losses) >= 40 and med(losses[-20:]) < params.learned * med(losses[:5])


def _numbers(side: Mapping[str, Any], key: str) -> list[float]:
    return [float(value) for value in side.get(key) or () if isinstance(value, (int, float))]
