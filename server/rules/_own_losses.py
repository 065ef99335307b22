"""Knows mistakes in losses that the user wrote, by the operations of the first graph: a logarithm that can meet 0, a
softmax of a softmax, every output compared with every target, a hinge of 0 and 1.

Not for: the arguments of PyTorch's own loss functions (loss-task-mismatch); `mistake_in_graph` looks at what leads to
any loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise, takewhile

from server.domain.evidence import Window
from server.domain.findings import Evidence, Severity, Verdict
from server.rules._ctc import mistake_of_ctc
from server.rules._loss_call import BEGIN, LIFTED, SAME_VALUES, call_operations, own_operations
from server.rules._progress import loss_quarters
from server.rules._samples import ids, samples
from server.rules._say import say

_OVERLAP = "the overlap (a dice or Jaccard index)"
TABLE = 3  # numbers: the dimension, samples, scores of each
FEWEST = 40  # losses
FIRST_STEPS = 3  # after which the gradients are told


def mistake_in_graph(window: Window) -> Verdict | None:
    """Gives a mistake that shows between the model and its loss, whoever wrote that; None where there is none."""
    graph = window.fact("graph")
    crossed, views = graph.get("crossed"), graph.get("views")
    if isinstance(crossed, list) and crossed:
        return _crossed(int(crossed[0]))
    for before, after in views if isinstance(views, list) else ():
        if _takes_apart(list(map(int, before)), list(map(int, after))):
            return _torn(before)
    if graph.get("overlap_of_scores") is True:
        return _made_for_probabilities(_OVERLAP)
    return mistake_of_ctc(window)


def _made_for_probabilities(what: str) -> Verdict:
    return say(
        Severity.ERROR,
        f"The loss takes {what} of what the last layer gives as it is: such scores are below 0 and above 1 too, "
        "and it is made for probabilities",
        "Put torch.sigmoid (one yes or no each) or softmax(dim=1) (one of many) between the model and this loss.",
        series=("loss",),
    )


def _takes_apart(before: list[int], after: list[int]) -> bool:
    """Says whether a view reads rows of as many numbers as the second dimension has, though that is not the last: what
    were scores of one place are those of several. Heads that are laid side by side are no such thing."""
    rows = len(before) > 2 and len(after) == 2 and after[1] == before[1] > 1 and after[0] > before[0]
    return rows and after[1] not in [math.prod(before[at:]) for at in range(1, len(before))]


def _torn(shape: Sequence[int]) -> Verdict:
    sizes, classes = "×".join(map(str, shape)), shape[1]
    order = "0, 2, 1" if len(shape) == 3 else "0, 2, 3, 1"
    return say(
        Severity.ERROR,
        f"Scores of {sizes} are read as rows of {classes} by a view: their classes are the second dimension, so each "
        "row mixes scores of one class from several places",
        f"Move the classes to the end first, x.permute({order}).reshape(-1, {classes}); or hand (batch, classes, "
        "places) to cross_entropy as they are.",
        numbers={"classes": classes},
        series=("loss",),
        limit=0.0,
    )


def mistake_in_own_loss(window: Window) -> Verdict | None:
    """Gives the first mistake that is found; None where there is none, or the loss is not the user's."""
    own = own_operations(window)
    if _log_of_zero(own):
        return _OF_ZERO
    scores = _of_scores(own, call_operations(window)[len(own) :])
    if scores and _reaches(window):
        return _made_for_probabilities(scores)
    if _softmax_of_softmax(own):
        return _TWICE
    found = _every_with_every(window, own) or _normalised_over_samples(window, own)
    if found is not None:
        return found
    if _falls_for_ever(window, own):
        return _WITHOUT_FLOOR
    return _OF_HINGE if _zero_or_one(window) else None


def _reaches(window: Window) -> bool:
    """Says whether something of the last layer's outputs is in the loss: a factor of 0 takes all of it away, as the
    gradients tell after a few steps (and GW301 of them)."""
    seen = window.fact("gradients")
    return not seen.get("all_zero") if seen else window.samples > FIRST_STEPS or window.final


_OF_ZERO = Verdict(
    severity=Severity.ERROR,
    first_step=0,
    message=(
        "The loss takes the logarithm of what a ReLU gives, with nothing between that keeps it above 0: where the ReLU "
        "answers 0 the loss is infinite"
    ),
    advice=(
        "Hand the outputs before the ReLU to cross_entropy, which normalises them itself; or add a small number before "
        "the logarithm."
    ),
    evidence=Evidence(strings={"operations": "log(relu(x))"}, series=("loss",)),
    at_once=True,
)
_OF_HINGE = Verdict(
    severity=Severity.ERROR,
    first_step=0,
    message=(
        "The hinge multiplies scores with targets that are 0 and 1, where it wants -1 and 1: a row of class 0 costs "
        "the same whatever the model answers, and teaches nothing"
    ),
    advice="Hand it `2 * target - 1`; or use binary_cross_entropy_with_logits, which takes 0 and 1.",
    evidence=Evidence(strings={"targets": "0 and 1"}, series=("loss",)),
    at_once=True,
)


_VIEWS = (*SAME_VALUES, "Transpose", "Permute")
_TWICE = Verdict(
    severity=Severity.ERROR,
    first_step=0,
    message=(
        "The loss takes the log-softmax of what a softmax gives: softmax is applied twice, and between 0 and 1 no "
        "class can be made likely"
    ),
    advice="Remove the softmax from the end of the model; apply it only where you read predictions.",
    evidence=Evidence(strings={"operations": "log_softmax(softmax(x))"}, series=("loss",)),
    at_once=True,
)


def _softmax_of_softmax(operations: Sequence[str]) -> bool:
    """Says whether a log-softmax of one's own loss gets what a softmax gave, nothing but views between them, or
    whether that is divided by the sum of its exponentials, as Categorical(logits=…) does."""
    pairs = zip(operations, operations[1:], operations[2:], strict=False)
    if any(a.startswith("Sub") and b.startswith("Softmax") and c.startswith("Logsumexp") for a, b, c in pairs):
        return True
    at = next((at for at, name in enumerate(operations) if name.startswith("LogSoftmax")), None)
    behind = [name for name in operations[at + 1 :] if not name.startswith(_VIEWS)] if at is not None else []
    return bool(behind) and behind[0].startswith("Softmax")


def _every_with_every(window: Window, operations: Sequence[str]) -> Verdict | None:
    """Looks for a mean error of one's own over n × n differences, where the model gives one number a sample."""
    sizes = [int(size) for size in window.fact("graph").get("reduced") or ()]
    inner = [name for name in operations if not name.startswith(("Mean", "Sum"))]
    plain = len(inner) > 1 and inner[0].startswith(("Pow", "Abs")) and inner[1].startswith(("Sub", "Rsub"))
    outputs = [item.get("shape") or () for item in window.fact("outputs").values() if isinstance(item, Mapping)]
    single = [shape for shape in outputs if len(shape) == 1 or list(shape[1:]) == [1]]
    if not plain or not single or len(inner) > 2 or len(sizes) != 2 or sizes[0] != sizes[1] or sizes[0] < 2:
        return None
    return _crossed(sizes[0])


_LINEAR = ("Mean", "Sum", "Div", "Neg", "Add", "Rsub", "Sub", "Select", "Slice", "T", "Transpose", *SAME_VALUES)
_PICKS = ("Gather", "Index")
_WITHOUT_FLOOR = Verdict(
    severity=Severity.ERROR,
    first_step=0,
    message=(
        "The loss picks the scores of the right answers and only adds and averages them: nothing is taken off for the "
        "scores of the others, so it has no floor and falls as long as the scores grow"
    ),
    advice=(
        "Normalise the scores: cross_entropy for single labels, and logsumexp over all of them (the log-partition) "
        "minus the score of the right one for sequences."
    ),
    evidence=Evidence(strings={"operations": "sum(scores[labels])"}, series=("loss",)),
    at_once=True,
)


def _falls_for_ever(window: Window, own: Sequence[str]) -> bool:
    """Says whether a loss is a sum of picked raw scores that went below 0 and fell in every quarter of the run. What an
    actor or a generator earns is one number of another model, and nothing is picked of it."""
    plain = bool(own) and all(name.startswith((*_LINEAR, *_PICKS)) and "Tanh" not in name for name in own)
    if not plain or not any(name.startswith(_PICKS) for name in own) or window.gates.moving_target:
        return False
    parts = loss_quarters(window)
    if parts is None or window.samples < FEWEST:
        return False
    return parts.q1 > parts.q2 > parts.q3 > parts.q4 and parts.q4 < -abs(parts.start)


def _normalised_over_samples(window: Window, own: Sequence[str]) -> Verdict | None:
    """Looks for a log-softmax of one's own loss over the samples of a batch, each of which has several scores: square
    tables, and those that are normalised in both directions, hold pairs. The logarithm may be taken behind it."""
    graph, size = window.fact("graph"), samples(window) or ids(window)
    kinds = [name for name in own if not name.startswith(LIFTED)]
    apart = any(one.startswith("LogBack") and two.startswith("SoftmaxBack") for one, two in pairwise(kinds))
    found = graph.get("softmaxes" if apart else "log_softmaxes") or ()
    over = [list(map(int, item)) for item in found]
    if size < 2 or not over or not (apart or any(name.startswith("LogSoftmax") for name in own)):
        return None
    if any(item[0] != 0 or len(item) != TABLE or item[1] != size or item[2] in (1, size) for item in over):
        return None
    shape = "×".join(map(str, over[0][1:]))
    return say(
        Severity.ERROR,
        f"The loss takes a log-softmax of {shape} scores over dimension 0, the {size} samples of a batch, and not over "
        f"the {over[0][2]} scores of each: what a sample should answer depends on the others of its batch",
        "Name the other dimension, log_softmax(1), and softmax(1) for the targets.",
        numbers={"samples": size, "scores": over[0][2]},
        series=("loss",),
        limit=0.0,
    )


def _crossed(many: int) -> Verdict:
    return say(
        Severity.ERROR,
        f"The loss averages {many}×{many} terms for {many} samples: outputs and targets have unlike "
        "shapes, and broadcasting compares every output with every target",
        "Make the shapes equal: `prediction.squeeze(1)` or `target.unsqueeze(1)`. Plain arithmetic gives no warning.",
        numbers={"samples": many},
        series=("loss",),
        limit=0.0,
    )


def _zero_or_one(window: Window) -> bool:
    """Says whether a hinge of one's own was given 0 and 1, and nothing else, as targets."""
    found = window.fact("graph").get("margin_targets")
    return isinstance(found, Mapping) and list(found.get("values") or ()) == [0, 1]


def squashed_twice(window: Window) -> Verdict | None:
    """Looks for a sigmoid of a sigmoid, or a softmax of a softmax, between the last layer and the loss."""
    names = set(map(str, window.fact("graph").get("twice") or ()))
    last = list(takewhile(lambda name: not name.startswith(BEGIN), call_operations(window)))
    found = next((name for name in last if name in names), "")
    if not found and call_operations(window)[:1] == ("NllLossBackward0",) and _softmax_of_softmax(last):
        return _TWICE
    if not found:
        return None
    kind = found.partition("Backward")[0].lower()
    left = "probabilities stay between 0.5 and 0.73" if kind == "sigmoid" else "no class can be made likely"
    return say(
        Severity.ERROR,
        f"The outputs pass a {kind} twice before the loss: {left}",
        f"Remove one of the two {kind} calls: that at the end of the model, or that in the loop.",
        strings={"operation": found},
        series=("loss",),
    )


_SUMMED = ("Mul", "Add", *SAME_VALUES, "Select", "Slice", "Permute", "Transpose", "Sum", "Mean")
_OF_PROBABILITY = ("Log", "Mul", "Rsub", "Add", *SAME_VALUES, "Gather", "Index", "Select", "Slice", "Permute", "Neg")
_AVERAGED = ("Neg", "Mean", "Sum", "Add", "Mul", "Div", "Rsub", *SAME_VALUES)


def _of_scores(own: Sequence[str], behind: Sequence[str]) -> str:
    """Says what a loss made for probabilities does with raw scores: the overlap of a dice or Jaccard loss, or a
    logarithm; "" where something squashes them, or it is another loss."""
    if not behind:
        return ""
    log = next((at for at, name in enumerate(own) if name.startswith("LogBackward")), None)
    if log is not None:
        plain = all(name.startswith(_AVERAGED) for name in own[:log])
        raw = all(name.startswith(_OF_PROBABILITY) and "Softmax" not in name for name in own[log:])
        return "the logarithm" if plain and raw else ""
    sums = [at for at, name in enumerate(own) if name.startswith("Sum")]
    further = sum(name.startswith("Sum") for name in behind[:3])  # the scores of one sum are nearer than another sum
    if (
        not sums
        or len(sums) + further < 2
        or "Mul" not in "".join(own[sums[0] :])
        or not own[0].startswith(("Rsub", "Neg", "Mean"))
    ):
        return ""
    ratio = any(name.startswith("Div") for name in own[: sums[0]])
    summed = all(name.startswith((*_SUMMED, "Sub")) for name in own[sums[0] :])
    raw = summed and not any(name.startswith("Sub") for name in own[sums[-1] + 2 :])
    return _OVERLAP if ratio and raw else ""


_SAFE = ("Add", "Clamp", "Exp", "Softplus", "Softmax", "LogSoftmax", "Sigmoid", "Maximum", "Where", "Rsub")


def _log_of_zero(operations: Sequence[str]) -> bool:
    """Says whether a logarithm reaches a ReLU with nothing between them that lifts a 0."""
    log = next((at for at, name in enumerate(operations) if name.startswith("LogBackward")), None)
    if log is None:
        return False
    behind = operations[log + 1 :]
    relu = next((at for at, name in enumerate(behind) if name.startswith("ReluBackward")), None)
    return relu is not None and not any(name.startswith(_SAFE) for name in behind[:relu])
