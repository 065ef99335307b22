"""Finds the repaired twin of a fault among the healthy trainings of its set: the same script, or the same setup, with
the fewest differences. Not for: running either (runner)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from typing import Any

from tests.corpus.setup import Setup

MOST = 3  # fields of a setup that a mistake changes


def twin(sick: Setup, healthy: Mapping[str, Setup]) -> str | None:
    """Gives the name of the healthy training that the mistake was made in; None where it is in no list."""
    apart = {name: _differences(sick, setup) for name, setup in healthy.items() if _alike(sick, setup)}
    nearest = min(apart, key=lambda name: apart[name], default=None)
    return nearest if nearest is not None and (sick.loop is not None or apart[nearest] <= MOST) else None


def _alike(one: Setup, other: Setup) -> bool:
    return _script(one.loop)[0] is _script(other.loop)[0]


def _differences(one: Setup, other: Setup) -> int:
    if one.loop is None:
        pairs = [(getattr(one, item.name), getattr(other, item.name)) for item in fields(Setup)]
        return sum(not _same(a, b) for a, b in pairs)
    (_, here), (_, there) = _script(one.loop), _script(other.loop)
    return (one.seed != other.seed) + sum(
        not _same(here.get(key), there.get(key)) for key in here.keys() | there.keys()
    )


def _script(loop: Callable[..., Any] | None) -> tuple[Any, dict[str, Any]]:
    """Takes a loop apart: the function that trains, and what it is told."""
    told: dict[str, Any] = {}
    while isinstance(loop, partial):
        told, loop = {**loop.keywords, **told}, loop.func
    held = inspect.getclosurevars(loop).nonlocals if inspect.isfunction(loop) else {}
    return (held["script"], {**held.get("more", {}), **told}) if "script" in held else (loop, told)


def _same(a: Any, b: Any) -> bool:
    """Compares two values; two lambdas are the same where they run the same code on the same."""
    code, other = getattr(a, "__code__", None), getattr(b, "__code__", None)
    if code is not None and other is not None:
        return code.co_code == other.co_code and code.co_consts == other.co_consts and _held(a) == _held(b)
    if isinstance(a, partial) and isinstance(b, partial):
        return a.func is b.func and a.args == b.args and a.keywords == b.keywords
    try:
        return bool(a == b)
    except (RuntimeError, ValueError):  # tensors
        return False


def _held(function: Any) -> list[Any]:
    return [repr(cell.cell_contents) for cell in function.__closure__ or ()]
