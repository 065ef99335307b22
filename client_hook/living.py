"""Knows the living monitors of this process by the objects that they watch.

A second `watch` on the same model or optimizer closes the first monitor, and a monitor whose models or optimizers are
collected is finished. Not for: the end of the process (client_hook.shutdown).
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client_hook.monitor import Monitor


class Living:
    """Holds monitors, and the objects that they watch weakly."""

    def __init__(self) -> None:
        self._watched: dict[int, list[weakref.ref[Any]]] = {}
        self._vital: dict[int, list[weakref.ref[Any]]] = {}
        self._monitors: dict[int, Monitor] = {}
        self._lock = threading.RLock()

    def add(self, monitor: Monitor, models: Iterable[Any], optimizers: Iterable[Any]) -> None:
        """Closes the monitors that share an object with this one; keeps this one while it has a model."""
        vital, other = list(models), list(optimizers)
        for earlier in self.sharing([*vital, *other]):
            earlier.followed()
        key = id(monitor)
        with self._lock:
            self._monitors[key] = monitor
            self._watched[key] = [weakref.ref(item) for item in other]
            self._watched[key] += [weakref.ref(item, lambda _: self._check(key)) for item in vital]
            self._vital[key] = self._watched[key][len(other) :]

    def sharing(self, objects: Iterable[Any]) -> list[Monitor]:
        """Lists the monitors that watch one of the objects."""
        wanted = {id(item) for item in objects}
        with self._lock:
            return [
                self._monitors[key]
                for key, references in self._watched.items()
                if any(id(item) in wanted for reference in references if (item := reference()) is not None)
            ]

    def remove(self, monitor: Monitor) -> None:
        """Forgets a monitor."""
        with self._lock:
            self._monitors.pop(id(monitor), None)
            self._watched.pop(id(monitor), None)
            self._vital.pop(id(monitor), None)

    def _check(self, key: int) -> None:
        """Runs when a model was collected."""
        with self._lock:
            monitor = self._monitors.get(key)
            if monitor is None or any(reference() is not None for reference in self._vital[key]):
                return
        monitor.objects_gone()

    def __len__(self) -> int:
        return len(self._monitors)


living = Living()
