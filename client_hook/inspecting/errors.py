"""The error that says why a batch cannot be looked at."""

from __future__ import annotations

from torch import Tensor


class InspectError(ValueError):
    """Says what `inspect` got, and what would be right."""


def shape(tensor: Tensor) -> str:
    """Says the sizes of a tensor and what it holds."""
    sizes = "×".join(map(str, tensor.shape)) or "a number"
    return f"{sizes} ({str(tensor.dtype).removeprefix('torch.')})"
