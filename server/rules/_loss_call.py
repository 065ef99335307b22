"""Reads what the hook saw of the call of the loss function, and computes the loss that an untrained model starts with.

Not for: judging; `loss-task-mismatch`, `initial-loss-high`, `loss-not-decreasing` and `loss-constant-or-zero` do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated
from server.domain.statistics import Quarters
from server.rules._facts import read_once

CROSS_ENTROPIES = frozenset({"cross_entropy", "nll_loss"})
BINARY = frozenset({"binary_cross_entropy", "binary_cross_entropy_with_logits"})
REGRESSION = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
NEVER_NEGATIVE = CROSS_ENTROPIES | BINARY | REGRESSION
NOT_SEEN = NotEvaluated(
    "no call of one of PyTorch's loss functions was seen", "loss = torch.nn.functional.cross_entropy(…)"
)
OF_SIGNS = frozenset({"hinge_embedding_loss", "cosine_embedding_loss", "margin_ranking_loss", "soft_margin_loss"})
MARGINS = frozenset(
    {
        "triplet_margin_loss",
        "hinge_embedding_loss",
        "margin_ranking_loss",
        "multi_margin_loss",
        "multilabel_margin_loss",
    }
)


@dataclass(frozen=True)
class Spread:
    """Describes the values of a tensor over the batches seen; None where it could not be seen."""

    shape: tuple[int, ...] = ()
    dtype: str = ""
    least: float | None = None
    most: float | None = None
    mean: float | None = None
    std: float | None = None
    first_rms: float | None = None  # root mean square of the first batch
    within: float | None = None  # share of the variance that is found within a batch
    integer: bool = False
    distinct: int | None = None
    outside_unit: float = 0.0
    outside_symmetric: float = 0.0
    negative: float = 0.0
    nonfinite: float = 0.0

    @property
    def mean_square(self) -> float | None:
        """E[y²]: the squared error of a model that answers 0."""
        return None if self.mean is None or self.std is None else self.std**2 + self.mean**2


@dataclass(frozen=True)
class LossCall:
    """What the loss function was called with; `labels` counts class indices, `value` is the loss before any update."""

    function: str | None
    batches: int
    classes: int | None
    batch_size: int
    reduction: str
    value: float | None
    kept: int
    previous_op: str
    last_layer: str
    broadcast: bool
    rows_sum_to_one: bool
    log_probabilities: bool
    one_hot: bool
    last_kind: str = ""  # the class of the last layer, where somebody looked it up in the model's table
    previous_dim: int | None = None  # the size that a softmax normalises over
    previous_axis: int | None = None  # and which dimension of the input that is; None where a view lies between
    batch_entropy: float | None = None  # of the labels within one batch, in nats
    label_entropies: tuple[float, float] | None = None  # within a batch, and of all up to it; means, in nats
    new_classes: tuple[tuple[int, int], ...] = ()  # between which two steps classes came that no batch had held before
    ignored: int = 0
    empty_batches: int = 0
    value_kept: float | None = None  # labels that count in each of the calls that made `value`
    fewest_kept: int | None = None  # labels that count in one batch
    calls_per_step: int = 0
    alone: bool = False  # the backward began at its result, and nothing was added to that
    arguments: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[int, int] = field(default_factory=dict)
    input: Spread = field(default_factory=Spread)
    target: Spread = field(default_factory=Spread)

    @property
    def of_probabilities(self) -> bool:
        """Says whether the operation before the loss was a softmax, as far as anybody can see."""
        return self.rows_sum_to_one and (self.classes or 0) > 1

    @property
    def of_places(self) -> bool:
        """Says whether each label is the place of its row in the batch: among outputs for the batch's own members, and
        maybe for sampled ones behind them, there are no classes."""
        return len(self.labels) == self.batch_size and set(self.labels.values()) == {self.batches}

    @property
    def per_value(self) -> float:
        """How many labels (single values of a regression) count in `value`; an early version of the hook sent none."""
        if self.value_kept is not None:
            return max(self.value_kept, 1.0)
        return max(self.per_batch if self.function in CROSS_ENTROPIES else float(math.prod(self.input.shape)), 1.0)

    @property
    def per_batch(self) -> float:
        """How many labels one call of the loss averages over."""
        return self.kept / self.batches if self.batches and self.kept else float(max(self.batch_size, 1))


def loss_call(window: Window) -> LossCall | None:
    """Reads the fact `loss_call`; None while no call of a known loss was seen."""
    return read_once(window.fact("loss_call"), "loss_call", _read)


def _read(fact: Mapping[str, Any]) -> LossCall | None:
    if not fact.get("function") or not fact.get("batches"):
        return None
    arguments = fact.get("arguments") or {}
    return LossCall(
        function=str(fact["function"]),
        batches=int(fact["batches"]),
        classes=_whole(fact.get("classes")),
        batch_size=_whole(fact.get("batch_size")) or 0,
        reduction=str(arguments.get("reduction") or "mean"),
        value=_number(fact.get("value")),
        kept=_whole(fact.get("kept")) or 0,
        previous_op=str(fact.get("previous_op") or ""),
        last_layer=str(fact.get("last_layer") or ""),
        broadcast=bool(fact.get("broadcast")),
        rows_sum_to_one=bool(fact.get("rows_sum_to_one")),
        log_probabilities=bool(fact.get("log_probabilities")),
        one_hot=bool(fact.get("one_hot")),
        previous_dim=_whole(fact.get("previous_dim")),
        previous_axis=_whole(fact.get("previous_axis")),
        batch_entropy=_number(fact.get("batch_label_entropy")),
        label_entropies=_pair(fact.get("label_entropies")),
        new_classes=_stretches(fact.get("new_classes")),
        ignored=_whole(fact.get("ignored")) or 0,
        empty_batches=_whole(fact.get("empty_batches")) or 0,
        value_kept=_number(fact.get("value_kept")),
        fewest_kept=_whole(fact.get("fewest_kept")),
        calls_per_step=_whole(fact.get("calls_per_step")) or 0,
        alone=bool(fact.get("alone")),
        arguments=arguments,
        labels=counts_of(fact.get("label_counts")),
        input=spread_of(fact.get("input")),
        target=spread_of(fact.get("target")),
    )


LIFTED = ("Add", "Clamp", "Maximum")  # what keeps a probability away from 0 before its logarithm
BEGIN = ("Addmm", "Mm", "Mv", "Addmv", "Bmm", "Baddbmm", "Linear", "Convolution", "Mkldnn", "Cudnn")


def call_operations(window: Window) -> tuple[str, ...]:
    """Lists the operations from the loss upward, nearest first; empty where its graph was not seen."""
    names = window.fact("graph").get("operations")
    return tuple(map(str, names)) if isinstance(names, (list, tuple)) else ()


SAME_VALUES = ("View", "Reshape", "Squeeze", "Unsqueeze", "UnsafeView", "Clone")  # operations that change no number
_SUMS = ("Add", "Squeeze", "Unsqueeze", "View", "Reshape", "UnsafeView", "Select", "Slice", "Permute", "T")


def raw_scores(behind: Sequence[str]) -> bool:
    """Says whether values are what a weighted layer gave, or a sum of that: nothing on the way squashes them."""
    for name in behind:
        if name.startswith(BEGIN):
            return True
        if not name.startswith(_SUMS) or name.startswith("Tanh"):
            return False
    return False


_SCALE = ("Mul", "Div")
_SIMILARITY = ("Mm", "Bmm", "Sum", "CosineSimilarity", "Baddbmm", "UnsafeView")
_LENGTH = ("LinalgVectorNorm", "Norm")
_VIEWS = ("View", "Reshape", "Squeeze", "Unsqueeze", "T", "Permute", "Cat", "Slice", "Index")
_BETWEEN = (*_VIEWS, "MaskedFill", "LogSoftmax", *_SCALE)  # CLIP has two losses of one table


def product_of_unit_vectors(operations: Sequence[str]) -> tuple[bool, bool]:
    """Says whether logits are products of vectors that were divided by their lengths, and whether a scale follows."""
    at = next((at for at, name in enumerate(operations) if name.startswith("LogSoftmax")), None)
    rest = operations[at + 1 :] if at is not None else ()
    lengths = sum(name.startswith(_LENGTH) for name in rest)
    for place, name in enumerate(rest):
        if name.startswith(_SIMILARITY):
            return lengths >= 2, any(item.startswith(_SCALE) for item in rest[:place])
        if not name.startswith(_BETWEEN) or name.startswith("Tanh"):
            break
    return False, False


def own_operations(window: Window) -> tuple[str, ...]:
    """Lists the operations of a loss that the user wrote, from the loss up to the last weighted layer; empty where a
    function of PyTorch's made it, or where its graph was not seen."""
    if window.fact("loss_call").get("function"):
        return ()
    names = window.fact("graph").get("operations")
    if not isinstance(names, (list, tuple)):
        return ()
    found = [str(name) for name in names]
    end = next((at for at, name in enumerate(found) if name.startswith(BEGIN)), len(found))
    return tuple(found[:end]) if not any("Loss" in name or "Nll" in name for name in found[:end]) else ()


def never_negative(operations: Sequence[str]) -> str:
    """Says why a loss of these operations cannot be below 0; "" where it may be."""
    inner = [name for name in operations if not name.startswith(("Mean", "Sum", "Div"))]
    if inner and inner[0].startswith(("PowBackward", "AbsBackward")):
        return "a mean of squares or absolute values"
    logs = any(name.startswith("LogBackward") for name in operations)
    squashed = next((at for at, name in enumerate(inner) if name.startswith(("Softmax", "Sigmoid"))), None)
    if not logs or squashed is None or not inner[0].startswith("NegBackward"):
        return ""
    if any(name.startswith(_OF_DENSITY) for name in inner[squashed + 1 :]):
        return ""  # shares of a mixture, each times a density, which may be above 1
    between = inner[1:squashed]
    plain = all(name.startswith(_OF_CROSS_ENTROPY) for name in between)
    return "minus the logarithm of a probability" if plain else ""


def is_ctc(window: Window) -> bool:
    """Says whether the loss is a mean or sum of what ctc_loss gives, and nothing else."""
    names = window.fact("graph").get("operations")
    found = [str(name) for name in names] if isinstance(names, (list, tuple)) else []
    inner = next((name for name in found if not name.startswith(("Mean", "Sum", "Div"))), "")
    return inner.startswith(("CtcLoss", "CudnnCtcLoss"))


_OF_CROSS_ENTROPY = (
    "Log", "Add", "Mul", "Index", "Select", "Gather", "Squeeze", "Clamp", "Rsub", "View", "Unsqueeze", "Slice",
)  # fmt: skip
_OF_DENSITY = ("ExpB", "Pow", "Abs", "Softplus", "Reciprocal", "Sqrt", "Rsqrt")  # beside a softmax, not below it


@dataclass(frozen=True)
class Expected:
    """The loss of a model that knows nothing, in words too; `unit` turns a surplus into a variance."""

    value: float
    words: str
    unit: float


def expected(call: LossCall) -> Expected | None:
    """Computes the mean loss of an untrained model; None where it depends on what cannot be seen.

    Cross-entropy of equal logits is ln C; random logits of variance v add v/2·(1 − 1/C) (second order of
    log-sum-exp), a single logit v/8, counted as a difference of two: v/4. Regression: the error of answering 0.
    """
    if call.function in CROSS_ENTROPIES and (call.classes or 0) > 1:
        classes = call.classes or 2
        return Expected(math.log(classes), f"ln {classes}", (1 - 1 / classes) / 2)
    if call.function in BINARY and not call.arguments.get("pos_weight"):
        return Expected(math.log(2), "ln 2", 0.25)
    square, std = call.target.mean_square, call.target.std
    if call.function not in REGRESSION or square is None or not std:
        return None
    if call.function == "mse_loss":
        return Expected(square, "the mean square of the targets", std**2)
    # E|y| ≤ √E[y²], and Huber's loss is below its slope times |y|: both err to silence
    slope = float(call.arguments.get("delta") or 1.0) if call.function == "huber_loss" else 1.0
    return Expected(slope * math.sqrt(square), "the root mean square of the targets", slope * std)


LITTLE_LEFT = 0.3  # of the loss of a model that knows nothing


def knew_before(window: Window, parts: Quarters, share: float = LITTLE_LEFT) -> bool:
    """Says whether the run began far below an untrained model's loss: pretrained weights have little left to gain."""
    call = loss_call(window)
    start = expected(call) if call is not None else None
    return start is not None and parts.start < share * start.value


def counts_of(value: Any) -> dict[int, int]:
    """Reads how often each label came; an empty dict where nothing was counted."""
    return {int(label): int(count) for label, count in value.items()} if isinstance(value, Mapping) else {}


def entropy(counts: Mapping[int, int]) -> float:
    """Gives the entropy of labels in nats: the cross-entropy of the best answer that ignores the inputs."""
    total = sum(counts.values())
    shares = [count / total for count in counts.values() if count] if total else []
    return -sum(share * math.log(share) for share in shares)


def entropy_error(counts: Mapping[int, int]) -> float:
    """Gives the standard error of that entropy: 0 for balanced classes, large where a rare one was seen a few times."""
    total = sum(counts.values())
    shares = [count / total for count in counts.values() if count] if total else []
    spread = sum(share * math.log(share) ** 2 for share in shares) - entropy(counts) ** 2
    return math.sqrt(max(spread, 0.0) / total) if total else 0.0


def spread_of(value: Any) -> Spread:
    """Reads the statistics of a tensor."""
    if not isinstance(value, Mapping):
        return Spread()
    return Spread(
        shape=tuple(int(size) for size in value.get("shape") or ()),
        dtype=str(value.get("dtype") or ""),
        least=_number(value.get("min")),
        most=_number(value.get("max")),
        mean=_number(value.get("mean")),
        std=_number(value.get("std")),
        first_rms=_number(value.get("first_rms")),
        within=_number(value.get("within")),
        integer=bool(value.get("integer")),
        distinct=_whole(value.get("distinct")),
        outside_unit=_number(value.get("outside_unit")) or 0.0,
        outside_symmetric=_number(value.get("outside_symmetric")) or 0.0,
        negative=_number(value.get("negative")) or 0.0,
        nonfinite=_number(value.get("nonfinite")) or 0.0,
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _pair(value: Any) -> tuple[float, float] | None:
    if not isinstance(value, Mapping):
        return None
    within, so_far = _number(value.get("within")), _number(value.get("so_far"))
    return None if within is None or so_far is None else (within, so_far)


def _stretches(value: Any) -> tuple[tuple[int, int], ...]:
    pairs = [item for item in value if isinstance(item, (list, tuple)) and len(item) == 2] if value else []
    known = [(_whole(after), _whole(step)) for after, step in pairs]
    return tuple((after, step) for after, step in known if after is not None and step is not None)


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
