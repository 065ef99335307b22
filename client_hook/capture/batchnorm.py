"""Compares what batch norm sees with what it has stored: the fact `batchnorm`.

How many values a channel has, whether the stored statistics move, how far they lie from those of the batch (in training
and in evaluation), and whether two calls of a step see different distributions. Not for: its arguments (model_table).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from client_hook.capture.base import Context, Signal
from client_hook.capture.later import Later
from client_hook.capture.tensors import spread
from client_hook.capture.watched_calls import WatchedCalls, first_floats, is_due

MAX_VALUES = 65_536
MAX_LAYERS = 64
KEPT = 50  # samples
AVERAGED = 10  # pairs of calls


class _Layer:
    """Holds what one batch norm has shown."""

    def __init__(self) -> None:
        self.sizes: deque[tuple[int, int]] = deque(maxlen=KEPT)  # examples, and values of a channel, of each call
        self.samples = 0
        self.frozen = 0  # sampled forwards with gradients in eval mode
        self.unmoved = (
            0  # sampled training forwards in a row that found the stored statistics as the last one left them
        )
        self.before: list[float] | None = None
        self.calls = 1  # in a step, the most seen
        self.gaps: deque[float] = deque(maxlen=KEPT)
        self.eval_gaps: deque[float] = deque(maxlen=KEPT)
        self.distances: deque[float] = deque(maxlen=KEPT)
        self.apart: Tensor | None = None  # how far the second call lies from the first, channel by channel: an average
        self.pairs = 0
        self.eval_values = 0
        self.eval_step: int | None = None  # that was open at the newest evaluation

    def fact(self) -> dict[str, Any]:
        batch, values = sorted(self.sizes or [(0, 0)])[len(self.sizes) // 2]  # the last of an epoch may be short
        return {
            "values": values,
            "batch": batch,
            "samples": self.samples,
            "frozen": self.frozen,
            "unmoved": self.unmoved,
            "calls": self.calls,
            "gap": _middle(self.gaps),
            "eval_gap": _middle(list(self.eval_gaps)[len(self.eval_gaps) // 2 :]),  # the first may come too early
            "eval_step": self.eval_step,
            "eval_samples": len(self.eval_gaps),
            "eval_values": self.eval_values,
            "distances": list(self.distances)[-20:],
        }


class BatchNormSignal(Signal):
    """Measures means and variances of what reaches each batch norm, over a part of the batch."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._calls = WatchedCalls(context, self._see)
        self._later = Later()
        self._layers: dict[str, _Layer] = {}
        self._this_step: dict[str, list[tuple[Tensor, Tensor, int]]] = {}
        self._samples = 0
        self._sent = 0

    def attach(self) -> None:
        """Hooks the batch norms, if there are any."""
        found = [(name, module) for name, module in self.context.modules() if isinstance(module, _BatchNorm)]
        self._calls.watch(found[:MAX_LAYERS])
        if found:
            self._calls.join()

    def detach(self) -> None:
        """Takes every hook off."""
        self._calls.leave()
        self._later.clear()
        self._this_step.clear()

    def arm(self, sampled: bool) -> None:
        """Passes on whether the step is measured."""
        self._this_step.clear()
        self._calls.arm(sampled)

    @torch.no_grad()
    def _see(self, name: str, module: nn.Module, inputs: Any, output: Any, with_graph: bool) -> None:
        tensor = first_floats(inputs)
        if tensor is None or tensor.ndim < 2 or not isinstance(module, _BatchNorm):
            return
        layer = self._layers.setdefault(name, _Layer())
        batch, channels = tensor.shape[:2]
        values = tensor.numel() // max(channels, 1)
        training = with_graph and module.training
        if with_graph and not module.training:
            layer.frozen += 1
            return
        if not (with_graph or layer.samples or layer.frozen):
            return  # an evaluation before the training: what is stored is the start
        rows = spread(tensor, MAX_VALUES).transpose(0, 1).reshape(channels, -1).float()
        mean = rows.mean(1)
        variance = (rows - mean.unsqueeze(1)).square().mean(1)
        seen = rows.shape[1]
        if training:
            layer.sizes.append((batch, values))
            layer.samples += 1
            self._samples += 1
            self._compare_calls(name, layer, mean, variance, seen)
        else:
            layer.eval_values, layer.eval_step = max(layer.eval_values, seen), self.context.open_step
        running = module.running_var
        if running is None or module.running_mean is None or seen < 2:
            return
        ratio = (variance.clamp(min=1e-12) / running.float().clamp(min=1e-12)).log().abs().median()
        state = torch.stack([ratio, module.running_mean.float().sum(), running.float().sum()])
        self._later.put([state], lambda copies: self._take(layer, training, copies[0].tolist()))

    def _compare_calls(self, name: str, layer: _Layer, mean: Tensor, variance: Tensor, seen: int) -> None:
        """Measures the distance between two calls of one step, less what chance makes of it.

        Of the newest steps it takes the average before it squares: what lies now on this side and now on that (two
        views of a batch, each shifted anew) is one distribution.
        """
        known = self._this_step.setdefault(name, [])
        if known:
            first_mean, first_variance, first_seen = known[0]
            spread = (0.5 * (variance + first_variance)).clamp(min=1e-12)
            apart = (mean - first_mean) / spread.sqrt()
            layer.pairs = min(layer.pairs + 1, AVERAGED)
            if layer.apart is not None and layer.apart.device == apart.device:
                apart = layer.apart + (apart - layer.apart) / layer.pairs
            layer.apart = apart
            distance = apart.square().mean()
            chance = 4 * (1 / seen + 1 / first_seen)
            self._later.put(
                [distance.reshape(1)], lambda copies: layer.distances.append(max(float(copies[0]) - chance, 0.0))
            )
        known.append((mean, variance, seen))
        layer.calls = max(layer.calls, len(known))

    def _take(self, layer: _Layer, training: bool, state: list[float]) -> None:
        ratio, *stored = state
        if not training:
            layer.eval_gaps.append(ratio)
            return
        layer.gaps.append(ratio)
        layer.unmoved = layer.unmoved + 1 if stored == layer.before else 0
        layer.before = stored

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Sends the fact now and then."""
        self._this_step.clear()
        self._later.poll()
        steps = self._steps()
        if is_due(self._sent, steps):
            self._send(step, steps)

    def _steps(self) -> int:
        return max((layer.samples + layer.frozen for layer in self._layers.values()), default=0)

    def on_finish(self) -> None:
        """Sends what is known at the end."""
        self._later.poll(wait=True)
        if self._layers:
            self._send(self.context.step, self._steps())

    def _send(self, step: int, steps: int) -> None:
        self._sent = steps
        fact = {"layers": {name: layer.fact() for name, layer in self._layers.items()}}
        self.context.outbox.record("fact", "batchnorm", step, fact)


def _middle(values: Iterable[float]) -> float | None:
    kept = sorted(value for value in values if value == value and abs(value) != float("inf"))
    return kept[len(kept) // 2] if kept else None
