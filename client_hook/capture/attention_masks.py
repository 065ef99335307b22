"""Looks at what self-attention is allowed to see, in the first batches of a model that reads tokens; the fact `sight`.

With the targets of the loss that tells a language model that sees what it is asked for; with the tokens a mask that
hides what it should show, of attention that is written out too (written_attention). Not for: the size of its scores
(attention).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from client_hook.capture import loss_arguments, sight, written_attention
from client_hook.capture.attention import ARGUMENTS
from client_hook.capture.base import Context, Signal
from client_hook.capture.forward_hooks import is_compiled
from client_hook.capture.later import Later
from client_hook.capture.loss_arguments import BY_CLASS
from client_hook.capture.sight import Sight
from client_hook.capture.tensors import readable
from client_hook.capture.watched_calls import WatchedCalls, first_integers

BATCHES = 4  # that are looked at
TRIES = 20  # forwards without tokens or attention: then there are none
WAITED = 80  # steps more, where a model is not called as a whole
MOST_CALLS = 64  # of one forward
READS = (nn.MultiheadAttention, nn.RNNBase)
IGNORED = -100  # PyTorch's default


class AttentionMasksSignal(Signal):
    """Hears of attention, of the model's inputs and of the loss from the start, until a few batches were seen."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._models = WatchedCalls(context, self._forward)
        self._layers = WatchedCalls(context, self._layer, named=True)
        self._tables = WatchedCalls(context, self._lookup)
        self._read: list[Tensor] = []  # by the tables of models that are called part by part
        self._unheard: list[Tensor] = []  # texts of a model whose attention was not heard
        self._later = Later()
        self._heard: list[Sight] = []
        self._tokens: Tensor | None = None
        self._early = self._over = self._done = False
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
        self.context.patches.subscribe(self)
        self._models.watch(self.context.models.items())
        layers = [(name, module) for name, module in modules if isinstance(module, READS)]
        self._layers.watch(layers[:MOST_CALLS])
        whole = [model for model in self.context.models.values() if type(model).forward is nn.Module.forward]
        parts = [model for model in whole if not is_compiled([model])]
        tables = [item for model in parts for item in model.named_modules() if isinstance(item[1], nn.Embedding)]
        self._tables.watch(tables[:MOST_CALLS])
        for calls in (self._models, self._layers, self._tables):
            calls.arm(True)

    def detach(self) -> None:
        """Listens no more."""
        self._stop()
        for calls in (self._models, self._layers, self._tables):
            calls.clear()
        self._later.clear()

    def _stop(self) -> None:
        self._done = True
        self.context.patches.unsubscribe(self)
        for calls in (self._models, self._layers, self._tables):
            calls.arm(False)
        self._heard, self._tokens, self._read, self._unheard = [], None, [], []

    # -- what a forward shows ------------------------------------------------------------------------------------------

    def attention(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Hears of fused attention."""
        given = dict(zip(ARGUMENTS, args, strict=False)) | dict(kwargs)
        if self._listens() and all(readable(item) for item in given.values() if isinstance(item, Tensor)):
            self._hear(sight.fused(given))

    def _layer(self, name: str, module: nn.Module, inputs: Any, output: Any, with_graph: bool) -> None:
        args, kwargs = inputs
        given = [item for item in (*args, *kwargs.values()) if isinstance(item, Tensor)]
        if not self._listens() or not all(map(readable, given)):
            return
        if not isinstance(module, nn.RNNBase):
            self._hear(sight.multihead(module, args, kwargs))
        elif module.bidirectional and given and given[0].ndim == 3:
            self._both_ways[name] = given[0].shape[1 if module.batch_first else 0]

    def _listens(self) -> bool:
        return not (self._done or self._over) and torch.is_grad_enabled()

    def _hear(self, found: Sight | None) -> None:
        if found is not None and len(self._heard) < MOST_CALLS:
            self._heard.append(found)

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
            self._calls[at] = [self._calls[at][0] + len(calls), self._calls[at][1] + float(calls.sum())]

    def _take_padding(self, copies: list[Tensor]) -> None:
        self._came += 1
        self._padding = [a + float(b) for a, b in zip(self._padding, copies[0].tolist(), strict=True)]

    def on_backward(self, root: Tensor) -> None:
        """Hears that the forward is over: what comes now is computed once more."""
        if (self._read or self._unheard) and self._listens():
            self._forwards += bool(self._read)
            self._compare_padding(self._read)
            for text in self._unheard:
                seen = written_attention.shown(root, (text.shape[0], text.shape[1]))
                self._compare_shown([text], [] if seen is None else [seen])
        self._over = True
        self._heard, self._tokens, self._read, self._unheard = [], None, [], []

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Sends what is new, and stops when enough was seen."""
        if self._sent == self._asked and self._done:
            return
        self._later.poll()
        self._heard, self._tokens, self._read, self._unheard = [], None, [], []
        self._early = self._over = False
        self._closed += 1
        if not self._done and (self._compared >= BATCHES or max(self._forwards, self._closed - WAITED) >= TRIES):
            self._stop()
        if not self._sent or (self._done and self._came == self._asked):
            self._send(step)

    def on_finish(self) -> None:
        """Sends what is known at the end."""
        self._later.poll(wait=True)
        self._send(self.context.step)

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
