"""GW202: the loss function does not fit what it is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.rules._ids import cast_ids
from server.rules._layers import layers
from server.rules._loss_call import (
    BINARY,
    CROSS_ENTROPIES,
    NOT_SEEN,
    OF_SIGNS,
    REGRESSION,
    LossCall,
    call_operations,
    loss_call,
    own_operations,
    raw_scores,
)
from server.rules._metrics import falling_metric
from server.rules._own_losses import mistake_in_graph, mistake_in_own_loss, squashed_twice
from server.rules._progress import loss_quarters
from server.rules._rewards import falling_reward
from server.rules._say import percent
from server.rules._scores import distances_as_scores, rates_as_logarithms
from server.rules.base import Rule, Stage, threshold


class LossTaskMismatch(Rule):
    """The run has a loss function that does not fit its outputs or targets

    ## What it does
    Looks at what really went into the loss function: softmax or sigmoid applied before a loss that applies it itself,
    a softmax over the samples or the places instead of the classes, a single output under cross-entropy, probabilities
    where logarithms belong, shapes that only fit by broadcasting (in a squared error of one's own too), targets
    outside [0, 1] under a cross-entropy, raw scores that a clamp cuts to [0, 1], class ids as regression targets (cast
    to float too, where an accuracy is logged or eight or more come equally often), a label smoothing of a half or
    more, rows of several ones under a cross-entropy, 0 and 1 as targets of a loss that wants -1 and 1, a squared error
    of probabilities that ends where a constant answer is, targets 0 and 1 in a hinge that multiplies them with the
    score (then all of class 0 costs 1 and teaches nothing). The test for a softmax wants every row of eight batches to
    be non-negative and to sum to 1; real logits never do. Where a reward is logged (`monitor.log(reward=…)`), one that
    only ever fell tells of a sign that was lost; so does, at the end, an accuracy or AUC of the validation that fell
    to that of a guess while the loss fell, and an overlap (Dice, IoU) that stayed at 0. Scores of several places that
    a view reads as one row, raw scores in CTC, distances as scores, and rates where a Poisson loss wants their
    logarithms are found as well.

    ## Why it matters
    All of these train without an exception, and badly: a second softmax squeezes the logits into [0, 1], so the loss
    cannot fall below a high floor and the gradients are tiny; a broadcast loss compares every prediction with every
    target.

    ## What you see in the chart
    A loss that falls a little and settles at a plateau (1.46 for ten classes behind a double softmax).

    ## What to try
    - Hand raw outputs (logits) to `cross_entropy` and `binary_cross_entropy_with_logits`; softmax is for predicting.
    - `nll_loss` and `kl_div` take logarithms: `log_softmax(x, dim=1)`.
    - Make shapes equal before a regression loss: `prediction.squeeze(1)` or `target.unsqueeze(1)`.
    - Class ids are names, not amounts: `cross_entropy(logits, ids)`.

    ## Example
    ```python
    loss = F.cross_entropy(torch.softmax(model(x), dim=1), y)   # wrong: softmax twice
    loss = F.cross_entropy(model(x), y)                         # right
    ```

    ## References
    - PyTorch, `torch.nn.CrossEntropyLoss`: the input is expected to contain unnormalised logits.
    - PyTorch, `torch.nn.BCELoss`: probabilities; `torch.nn.LogSoftmax`: along which dimension.
    - PyTorch, `torch.nn.KLDivLoss`: input in the log space; `reduction="batchmean"` is the mathematical definition.
    - Exact tests.
    """

    code = "GW202"
    name = "loss-task-mismatch"
    severity = Severity.ERROR
    since = "0.1.0"
    version = 2
    chart = "loss"
    tier = "facts"
    clears_after = 1
    stage = Stage.OUTPUT
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How much must be seen before the tests on values count."""

        batches: int = threshold(
            8, unit="batches", low=1, high=1_000, source="ours: rows of logits do not sum to 1 eight times by chance"
        )
        targets_outside: float = threshold(
            0.01, unit="of the targets", low=0.0, high=1.0, source="ours: room for a few mislabelled values"
        )
        most_ids: int = threshold(
            20, unit="different values", low=3, high=1_000, source="ours: more whole numbers are counts or ratings"
        )
        smoothing: float = threshold(
            0.5, unit="of a label", low=0.2, high=1.0, source="ours: five times what Szegedy et al. 2016 use"
        )
        ones: float = threshold(1.05, unit="ones in a row", low=1.0, high=2.0, source="ours: a one-hot row has one")
        constant: float = threshold(
            0.95, unit="of the constant answer's error", low=0.5, high=1.0, source="ours: the noise of a batch"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `loss_call`."""
        call = loss_call(window)
        shown = falling_reward(window) or mistake_in_graph(window) or squashed_twice(window)
        if shown is not None:
            yield shown
            return
        if call is None:
            found_own = mistake_in_own_loss(window) or falling_metric(window)
            if found_own is not None:
                yield found_own
            elif not own_operations(window):
                yield NOT_SEEN
            return
        sure = call.batches >= params.batches or window.final
        cast = cast_ids(window, call, params.most_ids)
        for found in (
            _other_dimension,
            _not_turned,
            _normalised_twice,
            _one_class,
            _not_logarithms,
            _broadcast,
            _no_probabilities,
            _clamped_scores,
            _of_another_kind,
            _class_ids,
            _smoothed_away,
            _many_at_once,
            _one_sided,
            _habits,
        ):
            ends = _ends_linear(window, call)
            verdict = found(_Seen(call, sure, params, call_operations(window), _never_below(window), cast, ends))
            if verdict is not None:
                yield verdict
                return
        against = falling_metric(window)
        if against is not None:
            yield against


class _Seen(NamedTuple):
    """What each look is told; `sure` says that enough batches came to trust the values."""

    call: LossCall
    sure: bool
    params: LossTaskMismatch.Params
    operations: tuple[str, ...] = ()
    best: float | None = None  # the lower of the last quarter's loss and of its first, where the run has ended
    cast: str = ""  # why targets that are whole numbers as floats are class ids
    linear: bool = False  # the last layer puts classes into the last dimension


def _ends_linear(window: Window, call: LossCall) -> bool:
    """Says whether a linear layer made what the loss got."""
    kinds = {str(layer.get("name")): layer.get("type") for layer in layers(window)}
    return kinds.get(call.last_layer) == "Linear"


def _never_below(window: Window) -> float | None:
    """Gives how far a run that has ended brought the loss down; None while it goes on."""
    parts = loss_quarters(window) if window.final else None
    return min(parts.q3, parts.q4) if parts is not None else None


def _other_dimension(seen: _Seen) -> Verdict | None:
    """Looks for a softmax along another dimension than that of the classes, which the rows show as well."""
    call = seen.call
    by_class = call.function in CROSS_ENTROPIES and len(call.input.shape) >= 2
    softmax = call.previous_op.startswith(("LogSoftmax", "Softmax"))
    if not by_class or not softmax or call.previous_axis in (None, 1) or not seen.sure:
        return None
    if call.log_probabilities or call.of_probabilities:
        return None
    over = "the samples of a batch" if call.previous_axis == 0 else f"dimension {call.previous_axis}"
    return _verdict(
        call,
        Severity.ERROR,
        f"{call.function} got a softmax over {over}{_at(call)} instead of over the {call.classes} classes: what "
        "one sample is given is taken from the others",
        "Name the dimension of the classes: log_softmax(x, dim=1); or hand the raw outputs to cross_entropy.",
    )


def _not_turned(seen: _Seen) -> Verdict | None:
    """Looks for a linear layer's outputs for each place that reach a cross-entropy as they are: it takes the second
    dimension for the classes, where there are as many places as classes nothing is said."""
    call, names = seen.call, seen.operations
    at = next((at for at, name in enumerate(names) if name.startswith("LogSoftmax")), None)
    if call.function != "cross_entropy" or len(call.input.shape) != 3 or not seen.linear or at is None:
        return None
    for name in names[at + 1 :]:
        if name.startswith(("Addmm", "Mm", "Linear", "Bmm")):
            break
        if not name.startswith(("Add", "UnsafeView", "View")):
            return None
    else:
        return None
    return _verdict(
        call,
        Severity.ERROR,
        f"cross_entropy got {_shape(call.input.shape)} straight from a linear layer{_at(call)}, whose classes are in "
        "the last dimension: it takes the second one, the places, for the classes",
        "Turn them: cross_entropy(scores.transpose(1, 2), targets); or flatten both: scores.flatten(0, 1), "
        "targets.flatten().",
    )


def _normalised_twice(seen: _Seen) -> Verdict | None:
    call = seen.call
    softmax = call.of_probabilities and (seen.sure or call.previous_op.startswith("Softmax"))
    if call.function == "cross_entropy" and softmax:
        return _verdict(
            call,
            Severity.ERROR,
            f"cross_entropy got probabilities instead of logits in all {call.batches} batches: softmax is applied "
            f"twice{_at(call)}",
            f"Remove the softmax{_at(call)} and hand its input to cross_entropy, which applies log-softmax itself. "
            "Apply softmax only where you read predictions.",
        )
    if call.function == "binary_cross_entropy_with_logits" and call.previous_op.startswith("Sigmoid"):
        return _verdict(
            call,
            Severity.ERROR,
            f"binary_cross_entropy_with_logits got the output of a sigmoid: it is applied twice{_at(call)}",
            f"Remove the sigmoid{_at(call)}, or keep it and use binary_cross_entropy (less stable).",
        )
    return None


def _one_class(seen: _Seen) -> Verdict | None:
    call = seen.call
    if call.function not in ("cross_entropy", "nll_loss") or call.classes != 1:
        return None
    return _verdict(
        call,
        Severity.ERROR,
        f"{call.function} got a single output per sample: with one class the loss is 0 whatever the model says",
        "For two classes with one output use binary_cross_entropy_with_logits and float targets; for C classes let the "
        "last layer have C outputs.",
    )


def _not_logarithms(seen: _Seen) -> Verdict | None:
    call = seen.call
    positive = call.input.most is not None and call.input.most > 0
    if call.function == "nll_loss" and positive and not call.log_probabilities:
        what = "probabilities" if call.of_probabilities else "raw outputs"
        return _verdict(
            call,
            Severity.ERROR,
            f"nll_loss got {what} (up to {call.input.most:.3g}) where logarithms of probabilities belong{_at(call)}",
            "Call cross_entropy with the raw outputs, or put log_softmax(x, dim=1) before nll_loss.",
        )
    if call.function != "kl_div":
        return None
    if positive or call.of_probabilities:
        return _verdict(
            call,
            Severity.WARNING,
            f"kl_div got values up to {call.input.most or 0:.3g} as its first argument, which must be logarithms of "
            "probabilities",
            'Write kl_div(log_softmax(x, dim=1), target, reduction="batchmean").',
        )
    if call.reduction == "mean":
        return _verdict(
            call,
            Severity.WARNING,
            'kl_div was called with reduction="mean", which divides by the number of classes too and is no divergence',
            'Pass reduction="batchmean".',
        )
    return None


def _broadcast(seen: _Seen) -> Verdict | None:
    call = seen.call
    if call.function not in REGRESSION or not call.broadcast:
        return None
    given, wanted = _shape(call.input.shape), _shape(call.target.shape)
    return _verdict(
        call,
        Severity.ERROR,
        f"{call.function} got outputs of shape {given} and targets of shape {wanted}: broadcasting compares every "
        "output with every target",
        "Make the shapes equal: `prediction.squeeze(1)` or `target.unsqueeze(1)`, whichever fits; PyTorch warns of it "
        "once in the log.",
    )


def _no_probabilities(seen: _Seen) -> Verdict | None:
    call = seen.call
    if call.function not in BINARY:
        return None
    if call.target.outside_unit > seen.params.targets_outside:
        return _verdict(
            call,
            Severity.ERROR,
            f"{call.function} got targets that are no probabilities: {call.target.outside_unit:.0%} lie outside [0, 1] "
            f"(from {call.target.least:.3g} to {call.target.most:.3g})",
            "Scale the targets to [0, 1]; for class ids from 0 to C−1 use cross_entropy with C outputs; for amounts "
            "use mse_loss.",
        )
    if call.function == "binary_cross_entropy" and call.input.outside_unit > 0:
        return _verdict(
            call,
            Severity.ERROR,
            f"binary_cross_entropy got outputs outside [0, 1] (from {call.input.least:.3g} to {call.input.most:.3g})",
            "Use binary_cross_entropy_with_logits for raw outputs.",
        )
    return None


def _clamped_scores(seen: _Seen) -> Verdict | None:
    """Looks for raw scores that a clamp squeezes into [0, 1]; a sigmoid before the clamp makes it a precaution."""
    call = seen.call
    if call.function != "binary_cross_entropy" or not call.previous_op.startswith("Clamp"):
        return None
    at = next((at for at, name in enumerate(seen.operations) if name.startswith("Clamp")), None)
    if at is None or not raw_scores(seen.operations[at + 1 :]):
        return None
    return _verdict(
        call,
        Severity.ERROR,
        f"binary_cross_entropy got raw scores that a clamp cut to [0, 1]{_at(call)}: what is cut off gets no "
        "gradient, and a score is no probability",
        "Hand the raw scores to binary_cross_entropy_with_logits, without the clamp; or put a sigmoid before it.",
    )


def _of_another_kind(seen: _Seen) -> Verdict | None:
    return rates_as_logarithms(seen.call) or distances_as_scores(seen.call)


def _class_ids(seen: _Seen) -> Verdict | None:
    call = seen.call
    target, distinct = call.target, call.target.distinct or 0
    ids = target.integer and target.least == 0 and target.most == distinct - 1 and 3 <= distinct <= seen.params.most_ids
    whole = target.dtype.startswith(("int", "uint", "long"))
    outputs = call.input.shape[-1] if len(call.input.shape) > 1 else 1
    surely = whole or outputs == distinct
    if call.function not in REGRESSION or not (seen.sure and ids and (surely or seen.cast)):
        return None
    return _verdict(
        call,
        Severity.ERROR if surely else Severity.WARNING,
        f"{call.function} got class ids 0 to {distinct - 1} as targets"
        + (f" ({seen.cast})" if not surely else "")
        + f": it treats class {distinct - 1} as {distinct - 1} times class 1",
        f"Use cross_entropy with {distinct} outputs and the ids as int64 targets. If they are amounts, convert them to "
        "float.",
    )


def _smoothed_away(seen: _Seen) -> Verdict | None:
    """Looks for a label smoothing that leaves the right class no better off than noise would."""
    smoothing = seen.call.arguments.get("label_smoothing")
    if not isinstance(smoothing, float) or smoothing < seen.params.smoothing:
        return None
    classes = seen.call.classes or 2
    return _verdict(
        seen.call,
        Severity.WARNING,
        f"{seen.call.function} got label_smoothing={smoothing:g}: the right one of {classes} classes is to get "
        f"{percent(1 - smoothing + smoothing / classes)}, each other one {percent(smoothing / classes)}",
        "Use 0.1 or less; 0 while you look for another mistake.",
    )


def _many_at_once(seen: _Seen) -> Verdict | None:
    """Looks for rows of several ones under a cross-entropy, whose classes exclude each other."""
    call = seen.call
    rows = not call.target.dtype.startswith(("int", "uint", "long")) and call.one_hot is False
    zero_or_one = call.target.integer and call.target.distinct == 2 and (call.target.least, call.target.most) == (0, 1)
    ones = (call.target.mean or 0.0) * (call.classes or 0)
    if call.function != "cross_entropy" or not (rows and zero_or_one and seen.sure) or ones < seen.params.ones:
        return None
    return _verdict(
        call,
        Severity.ERROR,
        f"cross_entropy got rows with {ones:.2g} ones on average as targets: its {call.classes} classes exclude each "
        "other, and what one label gains another one loses",
        "Use binary_cross_entropy_with_logits, which asks about each label by itself (and a sigmoid for predicting).",
    )


def _one_sided(seen: _Seen) -> Verdict | None:
    """Looks for 0 and 1 where a loss of pairs or margins wants -1 and 1."""
    call = seen.call
    values = call.target.distinct == 2 and (call.target.least, call.target.most) == (0, 1)
    if call.function not in OF_SIGNS or not (values and seen.sure):
        return None
    left_out = 1 - (call.target.mean or 0.0)
    return _verdict(
        call,
        Severity.ERROR,
        f"{call.function} got targets 0 and 1, where it wants -1 and 1: {percent(left_out)} of them are 0 and teach "
        "nothing, or something else than meant",
        "Hand it `2 * target - 1`.",
    )


def _constant(call: LossCall) -> float:
    """Gives the squared error of the best constant answer."""
    return (call.target.std or 0.0) ** 2


def _no_better_than_constant(seen: _Seen) -> bool:
    """Says whether a classifier's squared error ended where an answer that ignores the inputs is."""
    call = seen.call
    classes = call.one_hot or len(call.input.shape) < 2 or call.input.shape[1] == 1
    plain = call.alone and call.reduction == "mean"
    return bool(classes and plain and seen.best is not None and seen.best > seen.params.constant * _constant(call))


def _habits(seen: _Seen) -> Verdict | None:
    call = seen.call
    squashed = call.previous_op.startswith(("Sigmoid", "Softmax"))
    yes_or_no = call.target.integer and call.target.distinct == 2 and (call.target.least, call.target.most) == (0, 1)
    if seen.sure and squashed and yes_or_no and call.function in ("l1_loss", "mse_loss"):
        is_l1 = call.function == "l1_loss"
        learned_nothing = not is_l1 and _no_better_than_constant(seen)
        return _verdict(
            call,
            Severity.WARNING if is_l1 or learned_nothing else Severity.INFO,
            f"{call.function} compares probabilities with labels 0 and 1"
            + (
                ": its best constant answer is the majority class"
                if is_l1
                else f", and {seen.best:.3g} at the end is no better than the constant answer's {_constant(call):.3g}: "
                "its gradients fade where the squashing is flat"
                if learned_nothing
                else " (a Brier score; its gradients fade)"
            ),
            "Use binary_cross_entropy_with_logits on the raw outputs, without the squashing before it.",
        )
    if seen.sure and call.function == "binary_cross_entropy_with_logits" and call.one_hot and (call.classes or 0) > 2:
        return _verdict(
            call,
            Severity.INFO,
            f"binary_cross_entropy_with_logits got one-hot rows of {call.classes} classes",
            "Classes that exclude each other are usually trained with cross_entropy and class ids.",
        )
    if call.function == "cross_entropy" and call.log_probabilities and call.previous_op.startswith("LogSoftmax"):
        return _verdict(
            call,
            Severity.INFO,
            f"cross_entropy got logarithms of probabilities{_at(call)}: a second log-softmax changes nothing and costs "
            "time",
            "Remove the log_softmax, or use nll_loss.",
        )
    return None


def _at(call: LossCall) -> str:
    return f" (`{call.last_layer}`)" if call.last_layer else ""


def _shape(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes)) or "scalar"


def _verdict(call: LossCall, severity: Severity, message: str, advice: str) -> Verdict:
    strings = {"function": str(call.function), "input": _shape(call.input.shape), "target": _shape(call.target.shape)}
    if call.previous_op:
        strings["operation before the loss"] = call.previous_op.removesuffix("Backward0")
    return Verdict(
        severity=severity,
        first_step=0,
        message=message,
        advice=advice,
        layers=(call.last_layer,) if call.last_layer else (),
        evidence=Evidence(numbers={"batches": float(call.batches)}, strings=strings, series=("loss",), limit=0.0),
        at_once=True,
    )
