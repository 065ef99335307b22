"""Follows the gradient back through time in recurrent layers, on sampled steps: how much of it reaches the first tenth
of a sequence, and how much the last.

Read from the gradient of what a layer is given (`nn.LSTM` and its like) or keeps (cells that the loop calls one step
after the other); it is looked at, never asked for: where no gradient goes that way, nothing is sent. Not for: gradients
of weights (gradients).
"""

from __future__ import annotations

import weakref
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from client_hook.capture.base import Context, Signal
from client_hook.capture.watched_calls import WatchedCalls
from client_hook.guard import guarded

SHORTEST = 20  # time steps: a tenth of fewer is one or none
TENTHS = 10
MOST_CELLS = 1_000  # calls of a cell in one step
NAMES = ("grad_time/first/", "grad_time/last/")


class TimeGradientSignal(Signal):
    """Hooks recurrent layers while a sampled step is open, and in their calls the tensors whose gradient tells."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._calls = WatchedCalls(context, self._see)
        self._profiles: dict[str, Tensor] = {}  # layer → norms over time, first time step first
        self._cells: dict[str, list[Tensor | None]] = {}

    def attach(self) -> None:
        """Looks for recurrent layers; a model without any costs nothing."""
        found = [item for item in self.context.modules() if isinstance(item[1], (nn.RNNBase, nn.RNNCellBase))]
        self._calls.watch(found)

    def detach(self) -> None:
        """Takes every hook off."""
        self._calls.clear()
        self._profiles.clear()
        self._cells.clear()

    def arm(self, sampled: bool) -> None:
        """Passes on whether the step is measured."""
        self._calls.arm(sampled)

    def _see(self, name: str, module: nn.Module, inputs: Any, output: Any, with_graph: bool) -> None:
        if not with_graph:
            return
        if isinstance(module, nn.RNNCellBase):
            self._see_cell(name, output)
            return
        given = inputs[0] if inputs else None
        if isinstance(given, PackedSequence):
            time: Any = given.batch_sizes
            given, length = given.data, len(time)
        elif isinstance(given, Tensor):
            time = 1 if given.ndim == 3 and getattr(module, "batch_first", False) else 0
            length = given.shape[time]
        if isinstance(given, Tensor) and given.requires_grad and length >= SHORTEST:
            given.register_hook(_Gradient(self, name, time))

    def _see_cell(self, name: str, output: Any) -> None:
        """Takes the state that a cell hands on; its gradient holds all that comes back from later time steps."""
        norms = self._cells.setdefault(name, [])
        states = [item for item in (output if isinstance(output, tuple) else (output,)) if item.requires_grad]
        if states and len(norms) < MOST_CELLS:
            for state in states:
                state.register_hook(_Gradient(self, name, len(norms), cell=True))
            norms.append(None)

    @guarded(None)
    def take(self, name: str, time: Any, gradient: Tensor, cell: bool) -> None:
        """Takes the norm of a gradient that arrived: one a time step. `time`: a cell's, or the axis of time, or how
        many rows belong to each."""
        began = perf_counter()
        if cell:
            norms = self._cells.get(name)
            if norms is not None and time < len(norms):
                norm, before = torch.linalg.vector_norm(gradient), norms[time]
                norms[time] = norm if before is None else torch.hypot(norm, before)  # an LSTM's two states
        elif not torch._C._functorch.is_functorch_wrapped_tensor(gradient):
            if not isinstance(time, int):
                gradient, time = pad_packed_sequence(PackedSequence(gradient, time))[0], 0
            others = [axis for axis in range(gradient.ndim) if axis != time]
            self._profiles[name] = torch.linalg.vector_norm(gradient.float(), dim=others) if others else gradient.abs()
        self.context.spent_s += perf_counter() - began

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Hands over the two ends of each profile."""
        for name, norms in self._cells.items():
            known = [norm for norm in norms if norm is not None]
            if len(known) == len(norms) >= SHORTEST:
                self._profiles[name] = torch.stack(known).float()
        self._cells.clear()
        profiles, self._profiles = self._profiles, {}
        for name, profile in profiles.items():
            columns = tuple(f"{kind}{name}" for kind in NAMES)
            self.context.readback.put(step, time_ms, columns, _ends(profile))


def _ends(profile: Tensor) -> Tensor:
    """Gives the median norm of the first tenth, and of the last that any gradient reached: behind it is padding."""
    tenths = torch.stack([part.median() for part in profile.detach().tensor_split(TENTHS)])
    last = ((tenths != 0) * torch.arange(TENTHS, device=tenths.device)).amax()
    return torch.stack([tenths[0], tenths.index_select(0, last.reshape(1))[0]])


class _Gradient:
    """Is the hook of one tensor. It lives as long as the graph, and keeps no signal alive."""

    def __init__(self, signal: TimeGradientSignal, name: str, time: Any, *, cell: bool = False) -> None:
        self._signal = weakref.ref(signal)
        self._name, self._time, self._cell = name, time, cell

    def __call__(self, gradient: Tensor) -> None:
        signal = self._signal()
        if signal is not None and not torch.compiler.is_compiling():
            signal.take(self._name, self._time, gradient.detach(), self._cell)
