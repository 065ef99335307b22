"""Looks, in the first batches, at what a model may see of what it is asked for: whether its targets are the next of
what it reads in order, and what looks ahead of a place, or hides it.

Of a model that reads tokens that is the fact `sight`: attention, its masks (of attention that is written out too), and
recurrent layers; of one that reads numbers `foresight`: attention without a mask, convolutions that are padded on both
sides, and bidirectional recurrent layers. Nothing here waits for a device. Not for: the size of attention's scores
(attention).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from client_hook.capture import loss_arguments, sight
from client_hook.capture.attention import ARGUMENTS
from client_hook.capture.base import Context, Signal
from client_hook.capture.forward_hooks import is_compiled
from client_hook.capture.later import Later
from client_hook.capture.loss_arguments import BY_CLASS
from client_hook.capture.sight import SHORTEST, Sight
from client_hook.capture.tensors import readable
from client_hook.capture.watched_calls import WatchedCalls, first_integers

BATCHES = 4  # that are looked at
TRIES = 20  # forwards or steps without what is looked for: then there is none
WAITED = 80  # steps more, where a model that reads tokens is not called as a whole
MOST_INPUTS, MOST_CALLS = 4, 64  # of one forward
OF_SERIES = (nn.Conv1d, nn.RNNBase, nn.MultiheadAttention)
OF_TOKENS = (nn.MultiheadAttention, nn.RNNBase)
IGNORED = -100  # PyTorch's default


class _FirstForwards(Signal):
    """Hears of attention, of chosen layers and of the models until enough was seen."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._models = WatchedCalls(context, self._forward)
        self._layers = WatchedCalls(context, self._layer, named=True)
        self._tables = WatchedCalls(context, self._lookup)
        self._later = Later()
        self._heard: list[Sight] = []
        self._over = self._done = False

    def _listen(self, layers: Iterable[tuple[str, nn.Module]]) -> None:
        self.context.patches.subscribe(self)
        self._models.watch(self.context.models.items())
        self._layers.watch([*layers][:MOST_CALLS])
        self._arm(True)

    def _arm(self, sampled: bool) -> None:
        for calls in (self._models, self._layers, self._tables):
            calls.arm(sampled)

    def detach(self) -> None:
        """Listens no more."""
        self._stop()
        for calls in (self._models, self._layers, self._tables):
            calls.clear()
        self._later.clear()

    def _stop(self) -> None:
        self._done = True
        self.context.patches.unsubscribe(self)
        self._arm(False)
        self._forget()

    def _listens(self) -> bool:
        return not (self._done or self._over) and torch.is_grad_enabled()

    def attention(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Hears of fused attention."""
        given = dict(zip(ARGUMENTS, args, strict=False)) | dict(kwargs)
        if self._listens() and all(readable(item) for item in given.values() if isinstance(item, Tensor)):
            self._hear(sight.fused(given))

    def _layer(self, name: str, module: nn.Module, inputs: Any, output: Any, with_graph: bool) -> None:
        args, kwargs = inputs
        given = [item for item in (*args, *kwargs.values()) if isinstance(item, Tensor)]
        if not (given and self._listens() and all(map(readable, given))):
            return
        if isinstance(module, nn.MultiheadAttention):
            self._hear(sight.multihead(module, args, kwargs))
        else:
            self._look(name, module, given[0], output)

    def _hear(self, found: Sight | None) -> None:
        if found is not None and len(self._heard) < MOST_CALLS:
            self._heard.append(found)

    def on_finish(self) -> None:
        """Sends what is known at the end."""
        self._later.poll(wait=True)
        self._send(self.context.step)

    def _forward(self, key: str, module: nn.Module, inputs: Any, output: Any, with_graph: bool) -> None:
        """Hears that a model has answered."""

    def _lookup(self, name: str, module: nn.Module, inputs: Any, output: Any, with_graph: bool) -> None:
        """Hears what a table looks up."""

    def _look(self, name: str, module: nn.Module, given: Tensor, output: Any) -> None:
        """Hears of a layer that is no attention."""

    def _forget(self) -> None:
        """Lets go of what the forward showed."""

    def _send(self, step: int) -> None:
        """Tells what is new."""


class Ahead(NamedTuple):
    """A layer that looks ahead over some places, whether it surely does, and where a convolution read from."""

    length: int
    name: str
    surely: Tensor
    source: int | None = None


class ForesightSignal(_FirstForwards):
    """Hears of a model's inputs, of its layers and of the loss from the start, until a few batches were seen."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._given: list[Tensor] = []
        self._ahead: list[Ahead] = []
        self._closed = self._asked = self._sent = self._calls = self._batches = 0
        self._length = 0
        self._counts = [0.0] * 4
        self._names: list[str] = []

    def attach(self) -> None:
        """Listens, where a model has a layer that reads a series."""
        layers = [(name, item) for name, item in self.context.modules() if isinstance(item, OF_SERIES)]
        self._done = not layers
        if layers:
            self._listen(layers)

    def _forget(self) -> None:
        self._given, self._heard, self._ahead = [], [], []

    # -- what a forward shows ------------------------------------------------------------------------------------------

    def _look(self, name: str, module: nn.Module, given: Tensor, output: Any) -> None:
        if len(self._ahead) < MOST_CALLS and (found := looks_ahead(name, module, given, output)) is not None:
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
            calls = [item.open for item in self._heard if item.length == length]
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


class AttentionMasksSignal(_FirstForwards):
    """Hears of attention, of the model's inputs and of the loss from the start, until a few batches were seen."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._read: list[Tensor] = []  # by the tables of models that are called part by part
        self._unheard: list[Tensor] = []  # texts of a model whose attention was not heard
        self._tokens: Tensor | None = None
        self._early = False
        self._closed = self._forwards = self._compared = self._asked = self._came = self._sent = 0
        self._places: list[list[float]] = [[0.0] * 5, [0.0] * 5]  # by dimension
        self._calls: list[list[float]] = [[0.0] * 2, [0.0] * 2]
        self._padding = [0.0, 0.0]
        self._lengths = (0, 0)
        self._both_ways: dict[str, int] = {}  # recurrent layers that read backwards too → places

    def attach(self) -> None:
        """Listens, where a model has a table of tokens."""
        modules = list(self.context.modules())
        if not any(isinstance(module, nn.Embedding) for _, module in modules):
            self._done = True
            return
        whole = [model for model in self.context.models.values() if type(model).forward is nn.Module.forward]
        parts = [model for model in whole if not is_compiled([model])]
        tables = [item for model in parts for item in model.named_modules() if isinstance(item[1], nn.Embedding)]
        self._tables.watch(tables[:MOST_CALLS])
        self._listen((name, module) for name, module in modules if isinstance(module, OF_TOKENS))

    def _forget(self) -> None:
        self._heard, self._tokens, self._read, self._unheard = [], None, [], []

    # -- what a forward shows ------------------------------------------------------------------------------------------

    def _look(self, name: str, module: nn.Module, given: Tensor, output: Any) -> None:
        if isinstance(module, nn.RNNBase) and module.bidirectional and given.ndim == 3:
            self._both_ways[name] = given.shape[1 if module.batch_first else 0]

    @torch.no_grad()
    def _forward(self, key: str, module: nn.Module, inputs: Any, output: Any, with_graph: bool) -> None:
        """Hears that a model has answered."""
        if not with_graph or self._done or self._over:
            return
        self._forwards += 1
        texts = _texts(inputs)
        if not texts or (len(texts) > 1 and self._early):  # the second may be the labels
            self._heard, self._tokens = [], None
            return
        self._tokens = tokens = texts[-1]  # a decoder's, where an encoder reads another
        self._lengths = (tokens.shape[1], tokens.shape[0])
        self._compare_padding(texts)
        self._unheard = [] if self._heard else texts
        targets = self.context.patches.targets
        if self._early and targets is not None:  # the model computes its loss itself
            self._compare(targets, IGNORED)

    def _lookup(self, name: str, module: nn.Module, inputs: Any, output: Any, with_graph: bool) -> None:
        """Hears what a table looks up in a model that nobody calls as a whole (a ModuleDict)."""
        tokens = first_integers(inputs)
        if with_graph and self._listens() and tokens is not None and tokens.ndim == 2 and readable(tokens):
            self._read = [*self._read, tokens][:MOST_CALLS]

    @torch.no_grad()
    def _compare_padding(self, texts: Sequence[Tensor]) -> None:
        """Compares the first mask of padding with what was read: it may be places, or a text."""
        self._compare_shown(texts, [item.last for item in self._heard if item.last is not None][:1])

    def _compare_shown(self, texts: Sequence[Tensor], padded: Sequence[Tensor]) -> None:
        both = [(text, mask) for text in texts for mask in padded if text.device == mask.device]
        known = [found for text, mask in both if (found := sight.only_padding(text, mask)) is not None]
        if known:
            self._asked += 1
            self._later.put([torch.stack(known).any(0)], self._take_padding)

    def loss_call(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """Hears of a loss, behind the forward or inside it."""
        tensors = loss_arguments.tensors_of(args, kwargs)
        if not self._listens() or function not in BY_CLASS or tensors is None or not readable(tensors[1]):
            return
        if self._tokens is None:
            self._early = True
            return
        self._compare(tensors[1], loss_arguments.read(function, args, kwargs).get("ignore_index", IGNORED))

    @torch.no_grad()
    def _compare(self, targets: Tensor, ignored: int) -> None:
        tokens, heard = self._tokens, self._heard
        self._tokens, self._heard, self._early = None, [], False
        devices = {item.open.device for item in heard if isinstance(item.open, Tensor)} or {targets.device}
        if tokens is None or targets.is_floating_point() or devices | {targets.device} != {tokens.device}:
            return
        wanted = sight.next_tokens(tokens, targets.detach(), ignored)
        for length in self._lengths:
            calls = [item.open for item in heard if item.length == length]
            known = [torch.as_tensor(item, device=tokens.device).reshape(()) for item in calls]
            wanted.append(torch.stack(known).float() if known else torch.zeros(0, device=tokens.device))
        self._compared += 1
        self._asked += 1
        self._later.put(wanted, self._take)

    # -- what has arrived ----------------------------------------------------------------------------------------------

    def _take(self, copies: list[Tensor]) -> None:
        self._came += 1
        for at in (0, 1):
            self._places[at] = [a + b for a, b in zip(self._places[at], copies[at].tolist(), strict=True)]
            calls = copies[2 + at]
            known = self._calls[at]
            self._calls[at] = [known[0] + len(calls), known[1] + float(calls.sum())]

    def _take_padding(self, copies: list[Tensor]) -> None:
        self._came += 1
        self._padding = [a + float(b) for a, b in zip(self._padding, copies[0].tolist(), strict=True)]

    def on_backward(self, root: Tensor) -> None:
        """Hears that the forward is over: what comes now is computed once more."""
        if (self._read or self._unheard) and self._listens():
            self._forwards += bool(self._read)
            self._compare_padding(self._read)
            for text in self._unheard:
                seen = sight.written_out(root, (text.shape[0], text.shape[1]))
                self._compare_shown([text], [] if seen is None else [seen])
        self._over = True
        self._forget()

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Sends what is new, and stops when enough was seen."""
        if self._sent == self._asked and self._done:
            return
        self._later.poll()
        self._forget()
        self._early = self._over = False
        self._closed += 1
        if not self._done and (self._compared >= BATCHES or max(self._forwards, self._closed - WAITED) >= TRIES):
            self._stop()
        if not self._sent or (self._done and self._came == self._asked):
            self._send(step)

    def _send(self, step: int) -> None:
        if self._came == self._sent:
            return
        self._sent = self._came
        at = max((0, 1), key=lambda at: (self._calls[at][0] > 0, self._places[at][1] + self._places[at][3]))
        places, following, telling, same, covered = self._places[at]
        calls, unmasked = self._calls[at]
        fact = {
            "batches": self._compared, "length": self._lengths[at], "places": int(places), "next": int(following),
            "telling": int(telling), "same": int(same), "covered": int(covered), "calls": int(calls),
            "open": int(unmasked), "padded": int(self._padding[0]), "only_padding": int(self._padding[1]),
            "both_ways": [name for name, length in self._both_ways.items() if length == self._lengths[at]],
        }  # fmt: skip
        if calls or following or self._padding[0]:  # attention that is written out is seen in the graph
            self.context.outbox.record("fact", "sight", step, fact)


def _texts(inputs: Any) -> list[Tensor]:
    """Gives the one text that a model reads, or two of other lengths, by which attention over them is told apart.
    Whatever else it is given has the shape of a text, as a mask or positions have, or is a mask from place to place."""
    given = [item.detach() for item in inputs if isinstance(item, Tensor)]
    whole = [item for item in given if item.dtype in (torch.int64, torch.int32) and item.numel()]
    texts = whole[:1] + [item for item in whole[1:] if _are_rows_beside(item, whole[0])][:1]
    if not texts or texts[0].ndim != 2 or not all(map(readable, texts)):
        return []
    shapes, places = {item.shape for item in texts}, {size for item in texts for size in item.shape}
    return texts if all(item.shape in shapes or {*item.shape[-2:]} <= places for item in given if item.ndim > 1) else []


def _are_rows_beside(text: Tensor, other: Tensor) -> bool:
    return text.ndim == other.ndim == 2 and (text.shape[0] == other.shape[0]) != (text.shape[1] == other.shape[1])
