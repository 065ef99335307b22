"""Finds a layer of a single unit through which everything has to pass, where many classes are to be told apart.

Not for: narrow layers that learn all the same, or branches beside others (gates, attention).
"""

from __future__ import annotations

from itertools import pairwise

from server.domain.evidence import Window
from server.domain.findings import Severity, Verdict
from server.rules._layers import layers
from server.rules._loss_call import CROSS_ENTROPIES, call_operations, expected, loss_call
from server.rules._progress import loss_quarters
from server.rules._say import say
from server.rules.base import Stage

FEWEST_CLASSES = 3
MEETING = ("MulBackward", "CatBackward", "Bmm", "AddBackward", "Softmax", "Stack")  # where branches come together


def through_one_unit(window: Window, unlearned: float) -> Verdict | None:
    """Tells of a chain of linear layers with one unit in it whose loss stayed high."""
    call, parts = loss_call(window), loss_quarters(window)
    start = expected(call) if call is not None else None
    if call is None or start is None or parts is None or call.function not in CROSS_ENTROPIES:
        return None
    if (call.classes or 0) < FEWEST_CLASSES or parts.q4 < unlearned * start.value:
        return None
    chain = sorted((item for item in layers(window) if _widths(item)), key=lambda item: item.get("order") or 0)
    sizes = [_widths(item) for item in chain]
    plain = all(left is not None and right is not None and left[1] == right[0] for left, right in pairwise(sizes))
    met = any(name.startswith(MEETING) for name in call_operations(window))
    if met or not plain or len(chain) != window.fact("graph").get("weighted"):
        return None
    narrow = next((str(item.get("name")) for item, size in zip(chain, sizes, strict=True) if size and size[1] == 1), "")
    if not narrow:
        return None
    return say(
        Severity.WARNING,
        f"All that the model knows of an input passes `{narrow}`, a layer of one unit, and {call.classes} classes are "
        f"to be told apart: the loss ended at {parts.q4:.4g}, a guess costs {start.value:.4g}",
        f"Give `{narrow}` as many units as there are classes, or more.",
        layers=(narrow,),
        numbers={"loss": parts.q4, "guess": start.value, "classes": float(call.classes or 0)},
        series=("loss",),
        limit=unlearned * start.value,
        stage=Stage.OUTPUT,
        exact=False,
    )


def _widths(layer: object) -> tuple[int, int] | None:
    """Gives the inputs and outputs of a linear layer; None for others."""
    arguments = layer.get("arguments") if isinstance(layer, dict) else None
    sizes = [(arguments or {}).get(key) for key in ("in_features", "out_features")]
    whole = isinstance(sizes[0], int) and isinstance(sizes[1], int)
    return (sizes[0], sizes[1]) if whole else None  # type: ignore[return-value]
