"""Looks at the targets of a loss function of PyTorch's: ids, amounts or rows of ones where it wants something else.

Not for: the outputs (_wrong_outputs) or losses of the user's own (_own_losses).
"""

from __future__ import annotations

from server.domain.findings import Severity, Verdict
from server.rules._loss_call import BINARY, OF_SIGNS, REGRESSION, LossCall
from server.rules._loss_seen import Seen, mismatch, where
from server.rules._say import percent


def no_probabilities(seen: Seen) -> Verdict | None:
    """Looks for targets or outputs outside [0, 1] under a binary cross-entropy."""
    call = seen.call
    if call.function not in BINARY:
        return None
    if call.target.outside_unit > seen.params.targets_outside:
        return mismatch(
            call,
            Severity.ERROR,
            f"{call.function} got targets that are no probabilities: {call.target.outside_unit:.0%} lie outside [0, 1] "
            f"(from {call.target.least:.3g} to {call.target.most:.3g})",
            "Scale the targets to [0, 1]; for class ids from 0 to C−1 use cross_entropy with C outputs; for amounts "
            "use mse_loss.",
        )
    if call.function == "binary_cross_entropy" and call.input.outside_unit > 0:
        return mismatch(
            call,
            Severity.ERROR,
            f"binary_cross_entropy got outputs outside [0, 1] (from {call.input.least:.3g} to {call.input.most:.3g})",
            "Use binary_cross_entropy_with_logits for raw outputs.",
        )
    return None


def class_ids(seen: Seen) -> Verdict | None:
    """Looks for class ids under a loss that takes them for amounts."""
    call = seen.call
    target, distinct = call.target, call.target.distinct or 0
    ids = target.integer and target.least == 0 and target.most == distinct - 1 and 3 <= distinct <= seen.params.most_ids
    whole = target.dtype.startswith(("int", "uint", "long"))
    outputs = call.input.shape[-1] if len(call.input.shape) > 1 else 1
    surely = whole or outputs == distinct
    if call.function not in REGRESSION or not (seen.sure and ids and (surely or seen.cast)):
        return None
    if call.input.integer:
        return None  # answers that were chosen already (argmax): what has no slope is told by GW301
    return mismatch(
        call,
        Severity.ERROR if surely else Severity.WARNING,
        f"{call.function} got class ids 0 to {distinct - 1} as targets"
        + (f" ({seen.cast})" if not surely else "")
        + f": it treats class {distinct - 1} as {distinct - 1} times class 1",
        f"Use cross_entropy with {distinct} outputs and the ids as int64 targets. If they are amounts, convert them to "
        "float.",
    )


def smoothed_away(seen: Seen) -> Verdict | None:
    """Looks for a label smoothing that leaves the right class no better off than noise would."""
    smoothing = seen.call.arguments.get("label_smoothing")
    if not isinstance(smoothing, float) or smoothing < seen.params.smoothing:
        return None
    classes = seen.call.classes or 2
    return mismatch(
        seen.call,
        Severity.WARNING,
        f"{seen.call.function} got label_smoothing={smoothing:g}: the right one of {classes} classes is to get "
        f"{percent(1 - smoothing + smoothing / classes)}, each other one {percent(smoothing / classes)}",
        "Use 0.1 or less; 0 while you look for another mistake.",
    )


def many_at_once(seen: Seen) -> Verdict | None:
    """Looks for rows of several ones under a cross-entropy, whose classes exclude each other."""
    call = seen.call
    rows = not call.target.dtype.startswith(("int", "uint", "long")) and call.one_hot is False
    zero_or_one = call.target.integer and call.target.distinct == 2 and (call.target.least, call.target.most) == (0, 1)
    ones = (call.target.mean or 0.0) * (call.classes or 0)
    if call.function != "cross_entropy" or not (rows and zero_or_one and seen.sure) or ones < seen.params.ones:
        return None
    return mismatch(
        call,
        Severity.ERROR,
        f"cross_entropy got rows with {ones:.2g} ones on average as targets: its {call.classes} classes exclude each "
        "other, and what one label gains another one loses",
        "Use binary_cross_entropy_with_logits, which asks about each label by itself (and a sigmoid for predicting).",
    )


def one_sided(seen: Seen) -> Verdict | None:
    """Looks for 0 and 1 where a loss of pairs or margins wants -1 and 1."""
    call = seen.call
    values = call.target.distinct == 2 and (call.target.least, call.target.most) == (0, 1)
    if call.function not in OF_SIGNS or not (values and seen.sure):
        return None
    left_out = 1 - (call.target.mean or 0.0)
    return mismatch(
        call,
        Severity.ERROR,
        f"{call.function} got targets 0 and 1, where it wants -1 and 1: {percent(left_out)} of them are 0 and teach "
        "nothing, or something else than meant",
        "Hand it `2 * target - 1`.",
    )


def _constant(call: LossCall) -> float:
    """Gives the squared error of the best constant answer."""
    return (call.target.std or 0.0) ** 2


def _no_better_than_constant(seen: Seen) -> bool:
    """Says whether a classifier's squared error ended where an answer that ignores the inputs is."""
    call = seen.call
    classes = call.one_hot or len(call.input.shape) < 2 or call.input.shape[1] == 1
    plain = call.alone and call.reduction == "mean"
    return bool(classes and plain and seen.best is not None and seen.best > seen.params.constant * _constant(call))


def habits(seen: Seen) -> Verdict | None:
    """Looks for what works, and is worse than what is usual."""
    call = seen.call
    squashed = call.previous_op.startswith(("Sigmoid", "Softmax"))
    yes_or_no = call.target.integer and call.target.distinct == 2 and (call.target.least, call.target.most) == (0, 1)
    if seen.sure and squashed and yes_or_no and call.function in ("l1_loss", "mse_loss"):
        is_l1 = call.function == "l1_loss"
        learned_nothing = not is_l1 and _no_better_than_constant(seen)
        return mismatch(
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
            last_resort=learned_nothing,
        )
    if seen.sure and call.function == "binary_cross_entropy_with_logits" and call.one_hot and (call.classes or 0) > 2:
        return mismatch(
            call,
            Severity.INFO,
            f"binary_cross_entropy_with_logits got one-hot rows of {call.classes} classes",
            "Classes that exclude each other are usually trained with cross_entropy and class ids.",
        )
    if call.function == "cross_entropy" and call.log_probabilities and call.previous_op.startswith("LogSoftmax"):
        return mismatch(
            call,
            Severity.INFO,
            f"cross_entropy got logarithms of probabilities{where(call)}: a second log-softmax changes nothing and "
            "costs time",
            "Remove the log_softmax, or use nll_loss.",
        )
    return None
