"""Knows the nodes of autograd's graph by name: which are views, weighted operations, activations, normalisations.

Not for: walking a whole graph (graph).
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from client_hook.guard import quietly

LEAF = "torch::autograd::AccumulateGrad"

# what changes shape or type, and no value
_PASSING = re.compile(
    r"^(Alias|AsStrided|Clone|Contiguous|Detach|Expand|Flatten|MoveDim|Narrow|Permute|Reshape|Select|Slice|Squeeze|Swap|"
    r"ToCopy|Transpose|T|Unflatten|UnsafeView|Unsqueeze|View|ReshapeAlias|Unbind|Split|Chunk|Cat|Stack)(Backward\d*|Multiple.*)$"
)
_WEIGHTED = re.compile(
    r"^(Addmm|Mm|Mv|Addmv|Bmm|Baddbmm|Linear|Dot|Convolution|MkldnnLinear|MkldnnConvolution|CudnnConvolution|ThnnConv|SlowConv|Trilinear)"
)
_RECURRENT = re.compile(r"(Rnn|Lstm|Gru)", re.IGNORECASE)
_NORM = re.compile(r"(BatchNorm|LayerNorm|NativeGroupNorm|RmsNorm)")
_DROPOUT = re.compile(r"Dropout")
_POOL = re.compile(r"Pool")
_SOFTMAX = re.compile(r"^(Softmax|LogSoftmax|SafeSoftmax)")
# arithmetic that is linear, or that only the loss has
_PLAIN = re.compile(
    r"^(Add|Sub|Neg|Mean|Sum|Mul|Div|Index|Gather|Scatter|Embedding|ConstantPad|Reflection|Upsample|Copy|Accumulate|"
    r"Cat|Stack|Split|Unbind|Repeat|Flip|Roll|Tril|Triu|MaskedFill|M(ax|in)(?!imum)|Amax|Norm|WeightNorm|LinalgVectorNorm|PixelShuffle)"
)


def name_of(node: Any) -> str:
    """Returns a node's name, such as `AddmmBackward0`."""
    return str(node.name())


def is_passing(name: str) -> bool:
    """Says whether a node passes its values on in another shape, layout or type."""
    return _PASSING.match(name) is not None


def kind_of(node: Any, name: str) -> str | None:
    """Sorts a node: weighted, activation, softmax, norm, dropout, pool; None for arithmetic and views."""
    if is_passing(name) or name == LEAF:
        return None
    if _WEIGHTED.match(name):
        return "weighted" if has_weight(node) else "product"
    if _SOFTMAX.match(name):
        return "softmax"
    if _NORM.search(name):
        return "norm"
    if _DROPOUT.search(name):
        return "dropout"
    if _RECURRENT.search(name):
        return "activation"
    if _POOL.search(name):
        return "pool"
    if name.startswith(("MulBackward", "DivBackward")) and joins_two(node):
        return "activation"  # a gate: the product of two things that are computed
    if _PLAIN.match(name) or "Loss" in name:
        return None
    return "activation"  # also what is not known here: it may be anything, so nothing is called linear over it


def is_recurrent(name: str) -> bool:
    """Says whether a node is a whole recurrent layer, weights and activations in one."""
    return _RECURRENT.search(name) is not None


def has_weight(node: Any) -> bool:
    """Says whether one of a product's factors is a leaf (a parameter), seen through views and casts."""
    return any(_is_leaf(item) for item, _ in node.next_functions)


def factors_of(node: Any, name: str) -> list[Tensor]:
    """Gives the leaf that a weighted operation multiplies by, seen through views and casts: of two the last; none of
    any other operation."""
    if not _WEIGHTED.match(name):
        return []
    found = (_leaf_behind(item) for item, _ in node.next_functions)
    return [leaf for leaf in found if leaf is not None and leaf.ndim > 1][-1:]


def sized_leaf(node: Any, name: str) -> Tensor | None:
    """Returns the leaf whose size an operation measures: |w|, w² or a norm of it, as a penalty does."""
    if not name.startswith(("Abs", "Pow", "Norm", "LinalgVectorNorm", "Mul")):
        return None
    leaves = {_leaf_behind(item) for item, _ in node.next_functions}
    return leaves.pop() if len(leaves) == 1 and (len(node.next_functions) == 1 or name.startswith("Mul")) else None


def clips_a_ratio(node: Any, name: str) -> bool:
    """Says whether a node takes the smaller or larger of an exponential and of the same one clamped, each times a
    number: the surrogate objective of PPO (Schulman et al. 2017)."""
    if not name.startswith(("Minimum", "Maximum")):
        return False
    sides = [_behind_products(item) for item, _ in node.next_functions if item is not None]
    ratios = [side for side in sides if name_of(side).startswith("Exp")]
    return any(name_of(side).startswith("Clamp") and side.next_functions[0][0] in ratios for side in sides)


def _behind_products(node: Any) -> Any:
    while name_of(node).startswith(("Mul", "Neg")):
        inputs = [item for item, _ in node.next_functions if item is not None]
        if len(inputs) != 1:
            break
        node = inputs[0]
    return node


def joins_two(node: Any) -> bool:
    """Says whether an operation has two inputs that are computed: a product of them is no line of either."""
    inputs = [item for item, _ in node.next_functions if item is not None]
    return len(inputs) == 2 and not any(_is_leaf(item) for item in inputs)


def _is_leaf(item: Any) -> bool:
    return _leaf_behind(item) is not None


def _leaf_behind(item: Any) -> Tensor | None:
    for _hop in range(6):
        if item is None:
            return None
        name = name_of(item)
        if name == LEAF:
            leaf: Tensor | None = getattr(item, "variable", None)
            return leaf
        if not is_passing(name):
            return None
        item = item.next_functions[0][0] if item.next_functions else None
    return None


def before_factors(node: Any) -> Any:
    """Goes on through products with a number that makes nothing larger: what ends at 1 still does."""
    while node is not None and 0 < abs(constant_factor(node) or 0.0) <= 1:
        node = before_views(next(item for item, _ in node.next_functions if item is not None))
    return node


def before_views(node: Any) -> Any:
    """Goes from a node through views and casts to the operation that made the values."""
    for _hop in range(16):
        if node is None or not is_passing(name_of(node)) or len(node.next_functions) != 1:
            return node
        node = node.next_functions[0][0]
    return node


def relabelled(node: Any, name: str) -> list[list[int]] | None:
    """Returns the shapes before and after a view by which the first size becomes another one, or sizes swap places."""
    if not name.startswith(("View", "UnsafeView", "ReshapeAlias")):
        return None
    shapes = [list(quietly(getattr, node, "_saved_self_sym_sizes") or ()), list(node._input_metadata[0].shape)]
    moved = shapes[0] and shapes[1] and (shapes[0][0] != shapes[1][0] or sorted(shapes[0]) == sorted(shapes[1]))
    return shapes if moved and min(map(len, shapes)) > 1 and shapes[0] != shapes[1] else None


def squashed_twice(node: Any, name: str) -> bool:
    """Says whether a sigmoid or softmax is given what one gave, nothing but views between them."""
    kind = name.partition("Backward")[0]
    behind = before_views(node.next_functions[0][0]) if kind in ("Sigmoid", "Softmax") else None
    return behind is not None and name_of(behind).startswith(kind + "Backward")


def only_input(node: Any) -> Any:
    """Returns the one input of a node that has a gradient, views skipped; None where there are several."""
    inputs = [item for item, _ in node.next_functions if item is not None]
    return before_views(inputs[0]) if len(inputs) == 1 else None


def saved(node: Any, name: str) -> Any:
    """Returns what a node saved under a name, a tensor or a number, unless somebody's hook would have to bring it back:
    that of a checkpoint computes its forward once more."""
    raw = quietly(getattr, node, f"_raw_saved_{name}")
    if raw is not None and getattr(raw, "unpack_hook", raw) is not None:
        return None
    return quietly(getattr, node, f"_saved_{name}")


def softmax_over(node: Any) -> tuple[int, int] | None:
    """Returns the dimension over which a softmax node normalises, and its size."""
    result = saved(node, "result")
    dimension = quietly(getattr, node, "_saved_dim")
    if not isinstance(result, Tensor) or not isinstance(dimension, int) or result.ndim == 0:
        return None
    if dimension >= 2**63:
        dimension -= 2**64  # a negative dimension comes back unsigned
    if not -result.ndim <= dimension < result.ndim:
        return None
    return dimension % result.ndim, int(result.shape[dimension])


def sees(node: Any) -> list[Tensor]:
    """Returns, of a softmax from T places to as many, as attention that is written out has it, whether the first row of
    a batch sees earlier places, later ones, and all: T where it does."""
    over, one = softmax_over(node), saved(node, "result")
    if over is None or one.ndim < 3 or over[0] != one.ndim - 1 or not 4 <= over[1] == one.shape[-2]:
        return []
    while one.ndim > 2:
        one = one.detach()[0]
    one = one[:: over[1] // 64 + 1, :: over[1] // 64 + 1]  # some places of a long text tell as much
    return [torch.stack([one.tril(-1).any(), one.triu(1).any(), one.all()]) * over[1]]


def crossed(node: Any, name: str) -> list[int]:
    """Returns the samples where a square, absolute value or quantile loss is of every output's difference from every
    target, or the logarithm of every output is multiplied with every target: n × n from n × 1, and the targets need no
    gradient."""
    ends = [before_factors(before_views(item)) for item, _ in node.next_functions]
    behind = ends[0] if name.startswith(("Pow", "Abs", "Maximum")) and len(set(ends)) == 1 else None
    pair = behind if behind is not None and name_of(behind).startswith(("Sub", "Rsub")) else None
    if name.startswith("MulBackward"):
        factors = [before_views(item) for item, _ in node.next_functions if item is not None]
        pair = node if [name_of(item).startswith(("LogBackward", "LogSigmoid")) for item in factors] == [True] else None
    if pair is None:
        return []
    made = shape_of(pair)
    inputs = [shape_of(item, at) for item, at in pair.next_functions if item is not None]
    square = len(made) == 2 and made[0] == made[1] > 1
    return made[:1] if square and inputs in ([made[:1]], [[made[0], 1]], [[1, made[0]]]) else []


def shape_of(node: Any, at: int = 0) -> list[int]:
    """Returns the shape of what a node made; empty where PyTorch does not tell."""
    made = quietly(getattr, node, "_input_metadata") or ()
    return list(made[at].shape) if at < len(made) else []


def constant_factor(node: Any) -> float | None:
    """Returns the number that a root multiplies (or divides) its input by; None where it does not, or it lies on a
    device."""
    name = name_of(node)
    if not name.startswith(("MulBackward", "DivBackward")):
        return None
    other = saved(node, "other")
    if other is None and name.startswith("MulBackward"):
        other = saved(node, "self")
    if isinstance(other, Tensor):
        if not other.is_cpu or other.numel() != 1 or other.requires_grad:
            return None
        other = other.item()
    if not isinstance(other, (int, float)) or other == 0:
        return None
    return float(other) if name.startswith("Mul") else 1.0 / float(other)
