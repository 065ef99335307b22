"""Looks, in the first batches of a model that reads numbers in order (a series), whether its targets are the next of
them, and which of its layers look ahead; the fact `foresight`.

Layers that look ahead are attention without a mask, convolutions that are padded on both sides, and bidirectional
recurrent ones. Nothing here waits for a device. Not for: token ids (attention_masks), or attention that is written out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from client_hook.capture import loss_arguments, sight
from client_hook.capture.attention import ARGUMENTS
from client_hook.capture.base import Context, Signal
from client_hook.capture.later import Later
from client_hook.capture.sight import SHORTEST, Sight
from client_hook.capture.tensors import readable
from client_hook.capture.watched_calls import WatchedCalls

BATCHES = 4  # that are looked at
TRIES = 20  # steps without such targets: then there are none
MOST_INPUTS, MOST_CALLS = 4, 64
READS = (nn.Conv1d, nn.RNNBase, nn.MultiheadAttention)


class Ahead(NamedTuple):
    """A layer that looks ahead over some places, whether it surely does, and where a convolution read from."""

    length: int
    name: str
    surely: Tensor
    source: int | None = None


class ForesightSignal(Signal):
    """Hears of a model's inputs, of its layers and of the loss from the start, until a few batches were seen."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._models = WatchedCalls(context, self._forward)
        self._layers = WatchedCalls(context, self._layer, named=True)
        self._later = Later()
        self._given: list[Tensor] = []
        self._heard: list[tuple[int, bool | Tensor]] = []  # places, and whether an attention over them is open
        self._ahead: list[Ahead] = []
        self._done = self._over = False
        self._closed = self._asked = self._sent = self._calls = self._batches = 0
        self._length = 0
        self._counts = [0.0] * 4
        self._names: list[str] = []

    def attach(self) -> None:
        """Listens, where a model has a layer that reads a series."""
        layers = [(name, item) for name, item in self.context.modules() if isinstance(item, READS)]
        if not layers:
            self._done = True
            return
        self.context.patches.subscribe(self)
        self._models.watch(self.context.models.items())
        self._layers.watch(layers[:MOST_CALLS])
        self._models.arm(True)
        self._layers.arm(True)

    def detach(self) -> None:
        """Listens no more."""
        self._stop()
        self._models.clear()
        self._layers.clear()
        self._later.clear()

    def _stop(self) -> None:
        self._done = True
        self.context.patches.unsubscribe(self)
        self._models.arm(False)
        self._layers.arm(False)
        self._forget()

    def _forget(self) -> None:
        self._given, self._heard, self._ahead = [], [], []

    def _listens(self) -> bool:
        return not (self._done or self._over) and torch.is_grad_enabled()

    # -- what a forward shows ------------------------------------------------------------------------------------------

    def attention(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Hears of fused attention."""
        given = dict(zip(ARGUMENTS, args, strict=False)) | dict(kwargs)
        if self._listens() and all(readable(item) for item in given.values() if isinstance(item, Tensor)):
            self._hear(sight.fused(given))

    def _hear(self, found: Sight | None) -> None:
        if found is not None and len(self._heard) < MOST_CALLS:
            self._heard.append((found.length, found.open))

    def _layer(self, name: str, module: nn.Module, inputs: Any, output: Any, with_graph: bool) -> None:
        args, kwargs = inputs
        given = [item for item in (*args, *kwargs.values()) if isinstance(item, Tensor)]
        if not (given and self._listens() and all(map(readable, given))):
            return
        if isinstance(module, nn.MultiheadAttention):
            self._hear(sight.multihead(module, args, kwargs))
        elif len(self._ahead) < MOST_CALLS and (found := looks_ahead(name, module, given[0], output)) is not None:
            self._ahead.append(found)

    def _forward(self, key: str, module: nn.Module, inputs: Any, output: Any, with_graph: bool) -> None:
        """Keeps what a model was given until its loss is computed."""
        if with_graph and self._listens():
            plain = [item for item in inputs if isinstance(item, Tensor) and item.is_floating_point()]
            plain = [item for item in plain if item.grad_fn is None and item.ndim in (2, 3) and readable(item)]
            self._given = [item.detach() for item in plain[:MOST_INPUTS]]

    def loss_call(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """Hears of a loss behind the forward."""
        tensors = loss_arguments.tensors_of(args, kwargs, function)
        if not (self._given and self._listens()) or tensors is None or not readable(tensors[1]):
            return
        if tensors[1].is_floating_point():
            self._compare(tensors[1].detach())

    @torch.no_grad()
    def _compare(self, targets: Tensor) -> None:
        """Counts targets that are the next values of an input, along each dimension behind the first."""
        given = [item for item in self._given if item.device == targets.device]
        self._given = []
        alike = [item for item in given if item.numel() == targets.numel() and len(item) == len(targets)]
        if not alike:
            return
        known, wanted = alike[0], targets.reshape(alike[0].shape)
        for dimension in range(1, known.ndim):
            length = known.shape[dimension]
            others = [item for item in given if item is not known and length in item.shape[1:]]
            calls = [item for places, item in self._heard if places == length]
            ahead = [item for item in self._ahead if item.length == length]
            if not any(item.source == known.data_ptr() for item in ahead):
                ahead = [item for item in ahead if item.source is None]  # what it read may have been moved back before
            if length < SHORTEST or others or not (calls or ahead) or self._length not in (0, length):
                continue  # what looks ahead may belong to another series of that length
            now, following = known.movedim(dimension, 0), wanted.movedim(dimension, 0)
            same, moved = following[:-1] == now[1:], now[1:] != now[:-1]
            found = torch.stack([same.sum().float(), moved.sum().float()])
            opened = [torch.as_tensor(item, device=targets.device).reshape(()).float() for item in calls]
            self._length = length
            self._asked += 1
            count = float(same.numel())
            names = [item.name for item in ahead]
            put = [found, *opened, *(item.surely.float() for item in ahead)]
            self._later.put(put, partial(self._take, count=count, calls=len(calls), names=names))
            return

    def _take(self, copies: list[Tensor], count: float, calls: int, names: Sequence[str]) -> None:
        same, moved = copies[0].tolist()
        opened = sum(float(item) for item in copies[1 : 1 + calls])
        sure = [name for name, item in zip(names, copies[1 + calls :], strict=True) if float(item) > 0]
        self._names = list(dict.fromkeys([*self._names, *sure]))
        self._batches += 1
        self._calls += calls
        self._counts = [a + b for a, b in zip(self._counts, (count, same, moved, opened), strict=True)]

    def on_backward(self, root: Tensor) -> None:
        """Hears that the forward is over: what comes now is computed once more."""
        self._over = True
        self._forget()

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Stops when enough was seen, and tells it."""
        if self._sent == self._asked and self._done:
            return
        self._later.poll()
        self._forget()
        self._over = False
        self._closed += 1
        if not self._done and (self._asked >= BATCHES or self._closed >= TRIES):
            self._stop()
        if self._done and self._batches == self._asked:
            self._send(step)

    def on_finish(self) -> None:
        """Sends what is known at the end."""
        self._later.poll(wait=True)
        self._send(self.context.step)

    def _send(self, step: int) -> None:
        if self._batches == self._sent:
            return
        self._sent = self._batches
        places, following, telling, opened = map(int, self._counts)
        fact = {
            "batches": self._batches, "length": self._length, "places": places, "next": following, "telling": telling,
            "calls": self._calls, "open": opened, "ahead": self._names,
        }  # fmt: skip
        if following:
            self.context.outbox.record("fact", "foresight", step, fact)


def looks_ahead(name: str, module: nn.Module, given: Tensor, output: Any) -> Ahead | None:
    """Says over how many places a layer's answers depend on later ones; None of one that does not.

    A convolution that keeps the length by padding on both sides does, unless its weights for what is later are 0.
    """
    if isinstance(module, nn.RNNBase):
        several = module.bidirectional and given.ndim == 3
        length = given.shape[1 if module.batch_first else 0]
        return Ahead(length, name, torch.ones((), device=given.device)) if several else None
    if not isinstance(module, nn.Conv1d) or type(module).forward is not nn.Conv1d.forward:
        return None
    size, apart = module.kernel_size[0], module.dilation[0]
    kept = isinstance(output, Tensor) and output.shape[-1] == given.shape[-1] and module.stride[0] == 1
    if not kept or size < 2 or module.padding in (0, (0,), "valid"):
        return None
    later = module.weight.detach()[..., (size - 1) * apart // 2 // apart + 1 :]
    return Ahead(given.shape[-1], name, later.count_nonzero() > 0, given.data_ptr())
