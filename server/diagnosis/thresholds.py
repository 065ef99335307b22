"""Turns the thresholds of a project into the parameters of rules, and refuses those that no rule has.

Not for: keeping them (server.store.wishes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from server.errors import GradwatchError
from server.rules.registry import Registry


class WrongThreshold(GradwatchError):
    """Says which threshold is not right, and what would be."""


def checked(registry: Registry, code: str, name: str, value: float | None) -> None:
    """Raises WrongThreshold unless the rule has this threshold and the value lies in its range."""
    info = registry.get(code)
    if info is None:
        raise WrongThreshold(f"No rule is called {code!r}; GET /api/v1/rules lists them")
    known = {item.name: item for item in info.params}
    item = known.get(name)
    if item is None:
        names = ", ".join(known) or "none"
        raise WrongThreshold(f"{info.code} {info.name} has no threshold {name!r}; it has: {names}")
    if value is not None and not item.low <= value <= item.high:
        raise WrongThreshold(
            f"{info.code} {name}: got {value:g}, expected {item.low:g} to {item.high:g} {item.unit} (default "
            f"{item.default:g})"
        )


def params_of(registry: Registry, wanted: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Makes the parameters of the rules whose thresholds are not their own; what no rule knows is left out."""
    found: dict[str, Any] = {}
    for code, values in wanted.items():
        info = registry.get(code)
        if info is None:
            continue
        own = info.rule.Params()
        kinds = {name: type(value) for name, value in asdict(own).items()}
        fitting = {name: kinds[name](value) for name, value in values.items() if name in kinds}
        if fitting:
            found[info.code] = replace(own, **fitting)
    return found
