"""Looks at what a loss function of PyTorch's is given as outputs: normalised twice or not at all, along the wrong
dimension, cut, or of another shape than the targets.

Not for: the targets (_wrong_targets) or losses of the user's own (_own_losses).
"""

from __future__ import annotations

import math

from server.domain.findings import Severity, Verdict
from server.rules._loss_call import BINARY, CROSS_ENTROPIES, LIFTED, REGRESSION, LossCall, raw_scores
from server.rules._loss_seen import Seen, mismatch, shape, where

ROUNDING = 0.01  # of a sum of probabilities


def other_dimension(seen: Seen) -> Verdict | None:
    """Looks for a softmax along another dimension than that of the classes, which the rows show as well."""
    call = seen.call
    by_class = call.function in CROSS_ENTROPIES and len(call.input.shape) >= 2
    softmax = call.previous_op.startswith(("LogSoftmax", "Softmax"))
    if not by_class or not softmax or call.log_probabilities or call.of_probabilities or not seen.sure:
        return None
    if call.previous_axis is None:
        if not _all_of_another_size(call):
            return None
        over = f"a dimension of {call.previous_dim}"
    elif call.previous_axis == 1:
        return None
    else:
        over = "the samples of a batch" if call.previous_axis == 0 else f"dimension {call.previous_axis}"
    return mismatch(
        call,
        Severity.ERROR,
        f"{call.function} got a softmax over {over}{where(call)} instead of over the {call.classes} classes: what "
        "one sample is given is taken from the others",
        "Name the dimension of the classes: log_softmax(x, dim=1); or hand the raw outputs to cross_entropy.",
    )


def _all_of_another_size(call: LossCall) -> bool:
    """Says whether the input is a whole softmax over another number of values than there are classes, turned or viewed
    afterwards: the mean of one over n values is 1 / n, that of a part of it is not."""
    size, mean = call.previous_dim, call.input.mean
    if not call.previous_op.startswith("Softmax") or mean is None or size is None:
        return False
    return size > 1 and size != call.classes and abs(mean * size - 1) < ROUNDING


def logarithm_of_other_dimension(seen: Seen) -> Verdict | None:
    """Looks for probabilities along another dimension than that of the classes whose logarithm nll_loss is given:
    log(softmax(x, 0) + 1e-9). Nothing but what keeps them above 0 may stand between, so no dimension moved."""
    call, names = seen.call, list(seen.operations)
    if call.function != "nll_loss" or call.previous_op != "LogBackward0" or "LogBackward0" not in names:
        return None
    behind = names[names.index("LogBackward0") + 1 :]
    first = next((name for name in behind if not name.startswith(LIFTED)), "")
    over = {axis for axis, *sizes in seen.softmaxes if len(sizes) >= 2 and len(sizes) == len(call.input.shape)}
    if not first.startswith("SoftmaxBackward") or len(over) != 1 or len(seen.softmaxes) != 1 or over == {1}:
        return None
    axis, *sizes = seen.softmaxes[0]
    if sizes[1:] != list(call.input.shape[1:]):
        return None
    what = f"the {sizes[0]} samples of a batch" if axis == 0 else f"dimension {axis}"
    return mismatch(
        call,
        Severity.ERROR,
        f"nll_loss got the logarithm of a softmax over {what} instead of over the {call.classes} classes: the classes "
        f"of one {'sample' if len(sizes) == 2 else 'place'} do not sum to 1",
        "Name the dimension of the classes: log_softmax(x, dim=1); or hand the raw outputs to cross_entropy.",
    )


def rows_of_other_dimension(seen: Seen) -> Verdict | None:
    """Looks for a log-softmax of a whole sequence along another dimension than its last, whose places a view then makes
    the rows of nll_loss. Nothing but views may stand between, so no dimension moved."""
    call, chain = seen.call, [name for name in seen.operations[1:] if not name.startswith(("View", "UnsafeView"))]
    if call.function != "nll_loss" or len(seen.log_softmaxes) != 1 or not chain[:1] or len(call.input.shape) != 2:
        return None
    axis, *sizes = seen.log_softmaxes[0]
    viewed = len(sizes) >= 3 and math.prod(sizes) == math.prod(call.input.shape) and sizes[-1] == call.input.shape[1]
    if not chain[0].startswith("LogSoftmax") or not viewed or axis in (-1, len(sizes) - 1):
        return None
    what = f"the {sizes[0]} samples of a batch" if axis == 0 else f"the {sizes[axis]} places of a sequence"
    return mismatch(
        call,
        Severity.ERROR,
        f"nll_loss got a log-softmax of {shape(tuple(sizes))} scores over dimension {axis}, {what}, instead of over "
        f"the {call.classes} classes: what one place is given is taken from the others",
        "Name the dimension of the classes: log_softmax(x, dim=-1); or hand the raw outputs to cross_entropy.",
    )


def over_samples(seen: Seen) -> Verdict | None:
    """Looks for a softmax over the samples before a loss of one yes or no each: a batch of n has a mean of 1/n then."""
    call, size = seen.call, (seen.call.input.shape or (0,))[0]
    if call.function not in BINARY or not call.previous_op.startswith("Softmax") or call.previous_axis != 0:
        return None
    if call.previous_dim != size or size < 2 or call.input.mean is None or abs(call.input.mean * size - 1) > ROUNDING:
        return None
    return mismatch(
        call,
        Severity.ERROR,
        f"{call.function} got a softmax over the {size} samples of a batch{where(call)}: their probabilities sum to 1, "
        "and what one sample is given is taken from the others",
        "One output per sample: drop the softmax and use binary_cross_entropy_with_logits.",
    )


def not_turned(seen: Seen) -> Verdict | None:
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
    return mismatch(
        call,
        Severity.ERROR,
        f"cross_entropy got {shape(call.input.shape)} straight from a linear layer{where(call)}, whose classes are in "
        "the last dimension: it takes the second one, the places, for the classes",
        "Turn them: cross_entropy(scores.transpose(1, 2), targets); or flatten both: scores.flatten(0, 1), "
        "targets.flatten().",
    )


def normalised_twice(seen: Seen) -> Verdict | None:
    """Looks for a softmax or sigmoid before a loss that applies it itself."""
    call = seen.call
    softmax = call.of_probabilities and (seen.sure or call.previous_op.startswith("Softmax"))
    if call.function == "cross_entropy" and softmax:
        return mismatch(
            call,
            Severity.ERROR,
            f"cross_entropy got probabilities instead of logits in all {call.batches} batches: softmax is applied "
            f"twice{where(call)}",
            f"Remove the softmax{where(call)} and hand its input to cross_entropy, which applies log-softmax itself. "
            "Apply softmax only where you read predictions.",
        )
    if call.function == "binary_cross_entropy_with_logits" and call.previous_op.startswith("Sigmoid"):
        return mismatch(
            call,
            Severity.ERROR,
            f"binary_cross_entropy_with_logits got the output of a sigmoid: it is applied twice{where(call)}",
            f"Remove the sigmoid{where(call)}, or keep it and use binary_cross_entropy (less stable).",
        )
    return None


def one_class(seen: Seen) -> Verdict | None:
    """Looks for a single output under a loss that wants one for each class."""
    call = seen.call
    if call.function not in ("cross_entropy", "nll_loss") or call.classes != 1:
        return None
    return mismatch(
        call,
        Severity.ERROR,
        f"{call.function} got a single output per sample: with one class the loss is 0 whatever the model says",
        "For two classes with one output use binary_cross_entropy_with_logits and float targets; for C classes let the "
        "last layer have C outputs.",
    )


def not_logarithms(seen: Seen) -> Verdict | None:
    """Looks for anything but logarithms of probabilities where they belong."""
    call = seen.call
    positive = call.input.most is not None and call.input.most > 0
    if call.function == "nll_loss" and positive and not call.log_probabilities:
        what = "probabilities" if call.of_probabilities else "raw outputs"
        return mismatch(
            call,
            Severity.ERROR,
            f"nll_loss got {what} (up to {call.input.most:.3g}) where logarithms of probabilities belong{where(call)}",
            "Call cross_entropy with the raw outputs, or put log_softmax(x, dim=1) before nll_loss.",
        )
    if call.function != "kl_div":
        return None
    if positive or call.of_probabilities:
        return mismatch(
            call,
            Severity.WARNING,
            f"kl_div got values up to {call.input.most or 0:.3g} as its first argument, which must be logarithms of "
            "probabilities",
            'Write kl_div(log_softmax(x, dim=1), target, reduction="batchmean").',
        )
    if call.reduction == "mean":
        return mismatch(
            call,
            Severity.WARNING,
            'kl_div was called with reduction="mean", which divides by the number of classes too and is no divergence',
            'Pass reduction="batchmean".',
        )
    return None


def broadcast(seen: Seen) -> Verdict | None:
    """Looks for outputs and targets of unlike shapes."""
    call = seen.call
    if call.function not in REGRESSION or not call.broadcast or _shares_targets(call):
        return None
    if call.input.shape == call.target.shape:
        return None  # both were expanded, and each output meets its own target
    given, wanted = shape(call.input.shape), shape(call.target.shape)
    return mismatch(
        call,
        Severity.ERROR,
        f"{call.function} got outputs of shape {given} and targets of shape {wanted}: broadcasting compares every "
        "output with every target",
        "Make the shapes equal: `prediction.squeeze(1)` or `target.unsqueeze(1)`, whichever fits; PyTorch warns of it "
        "once in the log.",
    )


def shared_targets(seen: Seen) -> Verdict | None:
    """Remarks on outputs of several heads, or of several moments, that are compared with one set of targets."""
    call = seen.call
    if call.function not in REGRESSION or not call.broadcast or not _shares_targets(call):
        return None
    given, wanted = shape(call.input.shape), shape(call.target.shape)
    return mismatch(
        call,
        Severity.INFO,
        f"{call.function} compares each of {call.input.shape[0]} rows of outputs (of shape {given} in all) with the "
        f"same targets, of shape {wanted}",
        "Right where several heads or moments share their targets. If each row has targets of its own, stack those, "
        "so that the shapes are equal.",
    )


def _shares_targets(call: LossCall) -> bool:
    """Says whether outputs have the targets' shape and one dimension more before it, of another size than the targets'
    first: n × 1 against n, which compares n outputs with n targets each, is no such thing. One picture with its
    channels that all samples are compared with is."""
    outputs, targets = call.input.shape, call.target.shape
    several = len(targets) > 1 or targets[:1] > (1,)
    return outputs[1:] == targets and several and (outputs[0] != targets[0] or len(targets) > 2)


def clamped_scores(seen: Seen) -> Verdict | None:
    """Looks for raw scores that a clamp squeezes into [0, 1]; a sigmoid before the clamp makes it a precaution."""
    call = seen.call
    if call.function != "binary_cross_entropy" or not call.previous_op.startswith("Clamp"):
        return None
    at = next((at for at, name in enumerate(seen.operations) if name.startswith("Clamp")), None)
    if at is None or not raw_scores(seen.operations[at + 1 :]):
        return None
    return mismatch(
        call,
        Severity.ERROR,
        f"binary_cross_entropy got raw scores that a clamp cut to [0, 1]{where(call)}: what is cut off gets no "
        "gradient, and a score is no probability",
        "Hand the raw scores to binary_cross_entropy_with_logits, without the clamp; or put a sigmoid before it.",
    )
