"""Reads the arguments of the low-level loss functions, which `torch.nn.functional` passes by position.

Not for: what the tensors hold (loss_statistics).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from client_hook.guard import quietly

_REDUCTIONS = {0: "none", 1: "mean", 2: "sum"}

# names of the positions after input and target
_POSITIONS: dict[str, tuple[str, ...]] = {
    "cross_entropy": ("weight", "reduction", "ignore_index", "label_smoothing"),
    "nll_loss": ("weight", "reduction", "ignore_index"),
    "binary_cross_entropy": ("weight", "reduction"),
    "binary_cross_entropy_with_logits": ("weight", "pos_weight", "reduction"),
    "mse_loss": ("reduction",),
    "l1_loss": ("reduction",),
    "smooth_l1_loss": ("reduction", "beta"),
    "huber_loss": ("reduction", "delta"),
    "kl_div": ("reduction", "log_target"),
    "poisson_nll_loss": ("log_input", "full", "eps", "reduction"),
    "soft_margin_loss": ("reduction",),
    "multi_margin_loss": ("p", "margin", "weight", "reduction"),
    "multilabel_margin_loss": ("reduction",),
    "hinge_embedding_loss": ("margin", "reduction"),
    "cosine_embedding_loss": ("margin", "reduction"),
    "margin_ranking_loss": ("margin", "reduction"),
}
OF_PAIRS = frozenset({"cosine_embedding_loss", "margin_ranking_loss"})  # two inputs, then the target
EITHER_WAY = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})  # f(a, b) = f(b, a)
FEWEST_SEQUENCES = 4  # in one row alone a place without a label says nothing of padding
MEASURED = frozenset(_POSITIONS)
BY_CLASS = frozenset({"cross_entropy", "nll_loss"})
BINARY = frozenset({"binary_cross_entropy", "binary_cross_entropy_with_logits"})


def read(function: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Names the arguments; tensors among them become true, absent ones are left out (weights: false)."""
    positions = _POSITIONS.get(function, ())
    given = dict(zip(positions, args[2 + (function in OF_PAIRS) :], strict=False)) | {
        key: value for key, value in kwargs.items() if key in positions
    }
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name in ("weight", "pos_weight"):
            found[name] = isinstance(value, Tensor)
        elif name == "reduction":
            found[name] = _REDUCTIONS.get(value, value if isinstance(value, str) else None)
        elif isinstance(value, (bool, int, float)):
            found[name] = value
        else:
            found[name] = quietly(float, value)
    if "reduction" in positions:
        found.setdefault("reduction", "mean")
    for name in ("weight", "pos_weight"):
        if name in positions:
            found.setdefault(name, False)
    return found


def tensors_of(args: Sequence[Any], kwargs: Mapping[str, Any], function: str = "") -> tuple[Tensor, Tensor] | None:
    """Returns input (of a pair the first) and target; None where they are no tensors (a tracer's stand-ins).

    `mse_loss(y, model(x))` is as good as the other way round: what has a graph is the input.
    """
    given = [*args[: 3 if function in OF_PAIRS else 2 : 2 if function in OF_PAIRS else 1]]
    if len(given) < 1:
        given.append(kwargs.get("input"))
    if len(given) < 2:
        given.append(kwargs.get("target"))
    first, second = given
    if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
        return None
    turned = function in EITHER_WAY and second.requires_grad and not first.requires_grad
    return (second, first) if turned else (first, second)


def class_dimension(function: str, tensor: Tensor) -> int | None:
    """Returns the dimension of the input that counts classes (outputs, or the channels of maps); None where it has
    none."""
    if function in BY_CLASS or tensor.ndim > 3:
        return 1 if tensor.ndim >= 2 else 0
    return tensor.ndim - 1 if tensor.ndim >= 2 else None


def sequences(labels: Tensor, outputs: Tensor) -> tuple[int, int] | None:
    """Returns rows and length of labels that are sequences, also where they were laid end to end: by a view, or by a
    copy (of a slice) where the outputs came as (rows, length, classes)."""
    base = labels._base
    shape: Any = labels.shape
    if labels.ndim == 1 and outputs.ndim == 2:
        if base is not None and base.ndim == 2 and base.is_contiguous() and labels.is_contiguous():
            shape = base.shape if base.numel() == labels.numel() else shape
        if len(shape) == 1:
            sizes: Any = getattr(outputs.grad_fn, "_saved_self_sym_sizes", ())
            shape = sizes[:2] if len(sizes) == 3 and sizes[0] * sizes[1] == len(labels) else shape
    return (shape[0], shape[1]) if len(shape) == 2 and shape[0] >= FEWEST_SEQUENCES and shape[1] > 1 else None


def unexpanded_shape(tensor: Tensor) -> list[int]:
    """Returns the shape before broadcasting: `F.mse_loss` expands both tensors before the function that is wrapped
    here."""
    shape = [
        1 if stride == 0 and size > 1 else size for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    ]
    while len(shape) > 1 and shape[0] == 1 and tensor.shape[0] > 1:
        shape.pop(0)
        tensor = tensor[0]
    return shape


def is_broadcast(first: Tensor, second: Tensor) -> bool:
    """Says whether the two had different shapes, a single number against many left aside."""
    if first.shape != second.shape:
        shared = 1 if min(first.numel(), second.numel()) <= 1 else 2
        return shared == 2
    for tensor in (first, second):
        sizes = [(size, stride) for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1]
        expanded = sum(stride == 0 for _, stride in sizes)
        if expanded and expanded < len(sizes):
            return True
    return False
