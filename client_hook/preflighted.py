"""Remembers what preflight found about a model until `watch` sees the same model: its run then shows it too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

Record = tuple[str, str, dict[str, Any]]  # kind, name, value

_known: WeakKeyDictionary[Any, list[Record]] = WeakKeyDictionary()


def keep(model: Any, records: Iterable[Record]) -> None:
    """Keeps the records of the newest preflight of a model, as long as the model lives."""
    _known[model] = list(records)


def take(models: Iterable[Any]) -> list[Record]:
    """Gives the records of these models once: a second training of the same model does not start from there."""
    return [record for model in models for record in _known.pop(model, [])]
