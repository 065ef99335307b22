"""Counts, on sampled steps, how many rows each expert of a mixture is given: the fact `experts`.

A mixture is a `nn.ModuleList` whose name says "expert" and whose members are of one kind; rows are counted by their
shape, so that nothing is read from a device. Not for: mixtures whose experts are one tensor.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from torch import Tensor, nn

from client_hook.capture.base import Context, Signal
from client_hook.capture.watched_calls import WatchedCalls, first_floats, is_due

KEPT = 20  # newest samples
EARLY_STEPS = 20  # whose samples go as soon as there are later ones: a router needs a while
MOST_EXPERTS = 512  # of all mixtures


class ExpertsSignal(Signal):
    """Hooks the experts while a sampled step is open; a model without any costs nothing."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._calls = WatchedCalls(context, self._see)
        self._mixtures: dict[str, list[str]] = {}  # the list's name → its experts' names
        self._open: dict[str, int] = {}  # expert → rows in this step
        self._rows: deque[tuple[int, dict[str, int]]] = deque(maxlen=KEPT)
        self._samples = self._sent = 0

    def attach(self) -> None:
        """Looks for mixtures."""
        members: list[tuple[str, nn.Module]] = []
        for name, module in self.context.modules():
            if isinstance(module, nn.ModuleList) and "expert" in name.rpartition(".")[2].lower() and _alike(module):
                found = [(f"{name}.{index}", expert) for index, expert in enumerate(module)]
                if len(members) + len(found) <= MOST_EXPERTS:
                    members += found
                    self._mixtures[name] = [expert for expert, _ in found]
        self._calls.watch(members)

    def detach(self) -> None:
        """Takes every hook off."""
        self._calls.clear()

    def arm(self, sampled: bool) -> None:
        """Passes on whether the step is measured."""
        self._open.clear()
        self._calls.arm(sampled)

    def _see(self, name: str, module: nn.Module, inputs: Any, output: Any, with_graph: bool) -> None:
        given: Tensor | None = first_floats(inputs) if with_graph else None
        if given is not None and given.ndim:
            self._open[name] = self._open.get(name, 0) + given.numel() // max(given.shape[-1], 1)

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Keeps the counts of the step, and sends the fact now and then."""
        if not self._open:
            return
        if step >= EARLY_STEPS and self._rows and self._rows[0][0] < EARLY_STEPS:
            self._rows.clear()
        self._rows.append((step, dict(self._open)))
        self._open.clear()
        self._samples += 1
        if is_due(self._sent, self._samples):
            self._send(step)

    def on_finish(self) -> None:
        """Sends what is known at the end."""
        if self._samples > self._sent:
            self._send(self.context.step)

    def _send(self, step: int) -> None:
        self._sent = self._samples
        fact = {
            name: {
                "samples": len(self._rows),
                "first_step": self._rows[0][0],
                "rows": [sum(row.get(item, 0) for _, row in self._rows) for item in experts],
            }
            for name, experts in self._mixtures.items()
        }
        self.context.outbox.record("fact", "experts", step, fact)


def _alike(module: nn.ModuleList) -> bool:
    return len(module) > 1 and len({type(item) for item in module}) == 1
