"""Finds units (channels) after a ReLU that were 0 for every input of a while: the fact `dead_units`.

A while is the first 20 samples, then every 50: units mostly die some steps after the start, when they have fired.

Not for: the share of zeros in one batch (activations), which is high in many healthy networks.
"""

from __future__ import annotations

import weakref

import torch
from torch import Tensor, nn

from client_hook.capture.base import Context, Signal
from client_hook.capture.forward_hooks import ForwardHooks
from client_hook.capture.tensors import spread

ELEMENTS = 65_536  # looked at in one output
FIRST_WINDOW = 20  # samples: all of the first steps are measured
WINDOW = 50  # samples
WINDOW_INPUTS = 2_000  # a unit that fires for one in a thousand is alive
LONGEST_WINDOW = 500  # samples, where batches are tiny
LAST_WINDOW = 10  # samples at the end; fewer say less than the window before
LAST_INPUTS = 500
_RELU_LIKE = (nn.ReLU, nn.ReLU6, nn.Threshold, nn.Hardswish)
_CHANNELS_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)


class _Site:
    """Holds what one call site of a module has shown: which units were ever above 0."""

    def __init__(self, alive: Tensor) -> None:
        self.alive = alive
        self.inputs = 0


class DeadUnitSignal(Signal):
    """Keeps one bit a unit, on the device of the output."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._hooks = ForwardHooks(context, self._see)
        self._modules: dict[str, weakref.ref[nn.Module]] = {}
        self._channels_first: set[str] = set()
        self._sites: dict[str, list[_Site]] = {}
        self._calls: dict[str, int] = {}
        self._samples = 0  # of this window
        self._since = -1  # its first step
        self._first = True
        self._told = 0
        self._dead: dict[str, int] | None = None  # as sent last

    def attach(self) -> None:
        """Finds the modules whose output is 0 for half of all inputs or so."""
        before: nn.Module | None = None
        for name, module in self.context.leaves():
            if isinstance(module, _RELU_LIKE):
                self._modules[name] = weakref.ref(module)
                if isinstance(before, _CHANNELS_FIRST):
                    self._channels_first.add(name)
            elif next(module.parameters(recurse=False), None) is not None:
                before = module

    def arm(self, sampled: bool) -> None:
        """Puts the hooks on, or takes them off."""
        self._calls.clear()
        if sampled:
            self._hooks.put(self._modules.items())
        else:
            self._hooks.take()

    def on_backward(self, root: Tensor) -> None:
        """Hears that a forward is over: the next micro-batch calls the same sites."""
        self._calls.clear()

    def _see(self, name: str, module: nn.Module, output: Tensor) -> None:
        if not (torch.is_grad_enabled() and module.training) or output.ndim < 2:
            return
        call = self._calls[name] = self._calls.get(name, -1) + 1
        channel = 1 if output.ndim != 3 or name in self._channels_first else output.ndim - 1
        units = output.shape[channel]
        output = spread(output, ELEMENTS, channel)
        fired = output.amax(dim=[dim for dim in range(output.ndim) if dim != channel]) > 0
        sites = self._sites.setdefault(name, [])
        if call >= len(sites):
            sites.append(_Site(fired))
        elif len(sites[call].alive) == units:
            sites[call].alive |= fired
        sites[min(call, len(sites) - 1)].inputs += output.numel() // units

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Sends the fact at certain numbers of samples."""
        self._calls.clear()
        if not self._sites:
            return
        self._since = step if self._samples == 0 else self._since
        self._samples += 1
        if self._samples >= (FIRST_WINDOW if self._first else WINDOW) and (self._first or self._wide_enough()):
            self._send(step)
            self._first = False
            self._samples = 0
            self._sites.clear()

    def _wide_enough(self) -> bool:
        return self._samples >= LONGEST_WINDOW or self._fewest_inputs() >= WINDOW_INPUTS

    def _fewest_inputs(self) -> int:
        return min((site.inputs for sites in self._sites.values() for site in sites), default=0)

    def _send(self, step: int) -> None:
        layers: dict[str, dict[str, int]] = {}
        for name, sites in list(self._sites.items()):
            units = sum(len(site.alive) for site in sites)
            dead = units - sum(int(site.alive.sum()) for site in sites)
            inputs = min(site.inputs for site in sites)
            layers[name] = {
                "units": units, "dead": dead, "samples": self._samples, "inputs": inputs, "since": self._since,
            }  # fmt: skip
        found = {name: layer["dead"] for name, layer in layers.items()}
        if found != self._dead or self._told < 2:  # the first one of full length is told although nothing changed
            self._told += 1
            self._dead = found
            self.context.outbox.record("fact", "dead_units", step, layers)

    def on_finish(self) -> None:
        """Sends what is known at the end."""
        short = self._samples < LAST_WINDOW or self._fewest_inputs() < LAST_INPUTS
        if self._sites and (self._dead is None or not short):
            self._told = 0
            self._send(self.context.step)

    def detach(self) -> None:
        """Takes every hook off."""
        self._hooks.clear()
        self._sites.clear()
