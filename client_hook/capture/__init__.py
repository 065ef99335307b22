"""Measures a training, one signal a file; nothing here sends, stores or judges."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client_hook.capture.base import Signal


def signal_types() -> list[type[Signal]]:
    """Finds every signal of this folder, so that a new one is one new file."""
    from client_hook.capture.base import Signal  # inside: it needs torch

    found: list[type[Signal]] = []
    for entry in sorted(pkgutil.iter_modules(__path__), key=lambda entry: entry.name):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        found += [
            item
            for name, item in vars(module).items()
            if isinstance(item, type)
            and issubclass(item, Signal)
            and name[0] != "_"
            and item.__module__ == module.__name__
        ]
    return [item for item in found if item is not Signal]
