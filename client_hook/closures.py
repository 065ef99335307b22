"""Hands a closure on to an optimizer inside one that tells when its first evaluation is over.

LBFGS and its like compute the gradients inside their step: before it, those of the step before are there, or none. Not
for: what is measured then (client_hook.capture).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any


def replaced(
    args: tuple[Any, ...], kwargs: Mapping[str, Any] | None, tell: Callable[[], None]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Gives the arguments of `optimizer.step` with the closure replaced; None where there is none."""
    kwargs = dict(kwargs or {})
    if len(args) > 1 and callable(args[1]):
        return (args[0], _telling(args[1], tell), *args[2:]), kwargs
    if callable(kwargs.get("closure")):
        return args, {**kwargs, "closure": _telling(kwargs["closure"], tell)}
    return None


def _telling(closure: Callable[..., Any], tell: Callable[[], None]) -> Callable[..., Any]:
    told = False

    @functools.wraps(closure)
    def evaluate(*args: Any, **kwargs: Any) -> Any:
        nonlocal told
        result = closure(*args, **kwargs)
        if not told:
            told = True
            tell()
        return result

    return evaluate
