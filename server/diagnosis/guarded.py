"""Cuts windows for rules of others: the same evidence, but nothing that they write into it reaches anybody else.

Series are views that refuse to be written to, facts are copies, and what rules keep for one another is not shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from server.domain.evidence import Window
from server.domain.kinds import Kind
from server.domain.series import Series


def guarded(window: Window) -> Window:
    """Gives the window as a guest sees it."""

    def by_layer(kind: Kind) -> dict[str, Series]:
        return {subject: series.guarded() for subject, series in window.by_layer(kind).items()}

    return replace(
        window,
        facts=_Facts(window.facts),
        lookup=lambda name: window.lookup(name).guarded(),
        names=lambda kind: MappingProxyType(dict(window.names(kind))),
        all_of=by_layer,
        kept={},
        memo={},
    )


class _Facts(Mapping[str, Any]):
    """Copies a fact when it is looked at, because most of them are not."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = facts
        self._copies: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._copies:
            self._copies[name] = _copy(self._facts[name])
        return self._copies[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)


def _copy(value: Any) -> Any:
    """Copies what JSON can hold."""
    if isinstance(value, Mapping):
        return {name: _copy(item) for name, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
