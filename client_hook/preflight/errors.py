"""The error that says which argument of preflight cannot be used, and the words that its sentences share."""

from __future__ import annotations

from typing import Any

from torch import Tensor


class PreflightError(ValueError):
    """Says which argument of `preflight` cannot be used, why, and what would be right."""


def shape(tensor: Tensor) -> str:
    """Says the sizes of a tensor and what it holds."""
    sizes = "×".join(map(str, tensor.shape)) or "a number"
    return f"{sizes} ({str(tensor.dtype).removeprefix('torch.')})"


def kind(value: Any) -> str:
    """Says what a wrong value is."""
    return "None" if value is None else type(value).__name__
