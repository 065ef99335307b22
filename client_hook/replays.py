"""Hears of CUDA graphs in which a watched optimizer steps: a replay is a step, and is measured around it.

The weights are read before and after a replay, the gradients after it, where the graph left them. What a layer gave
lies in memory that the graph uses again, so activations cannot be seen. Not for: the capture (client_hook.patches).
"""

from __future__ import annotations

import weakref
from typing import Any

import torch

from client_hook.capture.base import Context
from client_hook.patches import capture
from client_hook.signals import Signals
from client_hook.steps import StepCounter

_NOTE = "CUDA graph: activations of replayed steps are not visible."


class Replays:
    """Knows which graphs step which optimizers, from `attach` to `detach`."""

    def __init__(self, context: Context, signals: Signals, counter: StepCounter) -> None:
        self.context = context
        self._signals = signals
        self._counter = counter
        self._steps: weakref.WeakKeyDictionary[Any, list[str]] = weakref.WeakKeyDictionary()
        self._measured = False

    def attach(self) -> None:
        """Listens."""
        self.context.patches.subscribe(self)

    def detach(self) -> None:
        """Listens no more."""
        self.context.patches.unsubscribe(self)
        self._steps.clear()

    def captured(self, key: str) -> None:
        """Hears that an optimizer's step became a part of the graph that is captured now."""
        keys = self._steps.setdefault(capture.graph, [])
        if key not in keys:
            keys.append(key)

    def before_replay(self, graph: Any) -> None:
        """Copies what a measured step will be compared with."""
        keys = self._steps.get(graph)
        self._measured = bool(keys) and self.context.sampled
        if keys and self._measured:
            self._tell(self._signals.replay_weights, keys)

    def graph_replay(self, graph: Any) -> None:
        """Hears that a graph was replayed, with an optimizer's step perhaps."""
        keys = self._steps.get(graph)
        if not keys:
            return
        if self._measured:
            self._measured = False
            self._tell(self._signals.replay_gradients, keys)
            self._tell(self._signals.replay_after, keys)
        self._counter.optimizer_stepped()
        self._counter.optimizer_steps += len(keys)
        self.context.note(_NOTE)

    plain_graph_replay = graph_replay

    def _tell(self, hearing: list[Any], keys: list[str]) -> None:
        optimizers = self.context.optimizers
        with torch.no_grad():
            for key in keys:
                if key in optimizers:
                    self._signals.tell(hearing, key, optimizers[key])
