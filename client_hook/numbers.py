"""Reads what users hand over as numbers: Python and numpy numbers, tensors of any device and size.

Not for: sending them. A tensor on a device is not read here, because that would make the loop wait.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from torch import Tensor

from client_hook.guard import quietly


class NotANumber(TypeError):
    """Says which value was handed over where a number belongs."""


def read(value: Any, what: str) -> float | Tensor:
    """Returns a float, or, for a tensor on a device, a detached scalar tensor that is to be read later."""
    if isinstance(value, Tensor):
        return _read_tensor(value, what)
    if isinstance(value, (bool, int, float)):
        too_large = float("inf") if value > 0 else float("-inf")  # for an integer beyond 1e308
        return float(quietly(float, value, default=too_large))
    if isinstance(value, (str, bytes, complex)) or value is None:
        raise NotANumber(f"{what}: got {value!r:.100}, expected a number or a tensor with one element")
    number = quietly(float, value)
    if not isinstance(number, float):
        raise NotANumber(f"{what}: got {type(value).__name__}, expected a number or a tensor with one element")
    return number


def is_exact(value: Any) -> bool:
    """Says whether a value may hold more digits than a float32 does."""
    return not isinstance(value, Tensor) or value.element_size() > 4


def _read_tensor(value: Tensor, what: str) -> float | Tensor:
    if value.is_complex():
        raise NotANumber(f"{what}: got a complex tensor, expected a real number")
    if value.is_meta:
        raise NotANumber(f"{what}: got a tensor on the meta device, which has no value")
    if value.numel() == 0:
        raise NotANumber(f"{what}: got an empty tensor, expected one element")
    if value.numel() > 1:
        value = value.detach().float().mean()  # a loss that was not reduced
    if value.is_cpu:
        return float(value.item())
    return value.detach().reshape(())


def is_bad(number: Tensor) -> bool:
    """Says whether a number is not finite; inside a functional transform it has no value."""
    return not quietly(lambda: isfinite(number.item()), default=True)
