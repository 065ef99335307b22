"""Looks at what the loss function is called with: the fact `loss_call`.

Not for: the loss as `monitor.step` is told it (loss), or judging any of it.
"""

from __future__ import annotations

import statistics
from collections import Counter
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from client_hook.capture import graph_nodes, loss_arguments
from client_hook.capture.base import Context, Signal
from client_hook.capture.forward_trace import ForwardTrace, trace_of
from client_hook.capture.later import Later
from client_hook.capture.loss_arguments import BINARY, BY_CLASS, MEASURED
from client_hook.capture.loss_statistics import Counts, Rows, Values, thin
from client_hook.capture.owned import Owned

FIRST_STEPS = 8  # every call in them is looked at
SEND_AT = frozenset({1, 3, 8, 20})  # batches
SEND_EVERY = 50
VALIDATION_CALLS = 20  # looked at; then every 16th
_SEARCHED = 400  # nodes between backward's root and the loss


class _Batches:
    """Gathers what one side, training or validation, showed."""

    def __init__(self) -> None:
        self.batches = 0
        self.input = Values()
        self.target = Values()
        self.labels = Counts()
        self.predictions = Counts()
        self.input_rows = Rows()
        self.target_rows = Rows()
        self.kept = self.ignored = self.empty = 0
        self.results: list[float] = []  # before the first optimizer step


class LossCallSignal(Signal):
    """Copies a few thousand values of a call to the host, in the first steps and on sampled ones; the rest waits
    until the step closes."""

    every_step = True
    may_rest = True
    may_wait = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._owned = Owned(context)
        self._later = Later()
        self._trace: ForwardTrace | None = None
        self._train = _Batches()
        self._validation = _Batches()
        self._functions: Counter[str] = Counter()
        self._open: list[
            tuple[str, Any]
        ] = []  # (function, graph node of the result) of the open step's calls, in the first steps
        self._main: str | None = None
        self._steps = 0
        self._calls = self._calls_per_step = 0
        self._arguments: dict[str, Any] = {}
        self._classes: int | None = None
        self._batch_size: int | None = None
        self._broadcast = False
        self._previous: tuple[str | None, int | None] = (None, None)
        self._last_layer: str | None = None
        self._own_loss = 0  # backwards without any known loss function
        self._own_previous: str | None = None
        self._sent_batches = 0
        self._validation_calls = 0

    def attach(self) -> None:
        """Listens to the loss functions."""
        self._trace = trace_of(self.context)
        self.context.patches.subscribe(self)

    def detach(self) -> None:
        """Listens no more."""
        self.context.patches.unsubscribe(self)
        if self._trace is not None:
            self._trace.leave()
            self._trace = None
        self._later.clear()
        self._open = []

    # -- the call ----------------------------------------------------------------------------------------------------

    def loss_call(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """Hears one call of a loss function."""
        training = isinstance(result, Tensor) and result.requires_grad
        if training:
            self._functions[function] += 1
            self._calls += function == self._main
            if self._steps >= FIRST_STEPS and not self.context.sampled:
                return
        else:
            self._validation_calls += 1
            if torch.is_grad_enabled() or (self._validation_calls > VALIDATION_CALLS and self._validation_calls % 16):
                return
        began = perf_counter()
        self._look(function, args, kwargs, result, training)
        self.context.spent_s += perf_counter() - began

    @torch.no_grad()
    def _look(self, function: str, args: Any, kwargs: Any, result: Any, training: bool) -> None:
        tensors = loss_arguments.tensors_of(args, kwargs)
        if tensors is None or not isinstance(result, Tensor) or not all(map(_readable, (*tensors, result))):
            return
        if training and self._steps < FIRST_STEPS:
            if not self._owned.graph(result):
                return
            self._open.append((function, result.grad_fn))
        if self._main is not None and function != self._main:
            return
        if self._main is None and not training:
            return
        if function not in MEASURED:
            return
        first, second = tensors
        if training:
            self._note(function, first, second, args, kwargs)
        self._copy(function, first, second, args, kwargs, result, self._train if training else self._validation)

    def _note(self, function: str, first: Tensor, second: Tensor, args: Any, kwargs: Any) -> None:
        """Keeps what needs no value of a tensor."""
        if self._main is None and function not in self._candidates():
            return
        self._arguments = loss_arguments.read(function, args, kwargs)
        dimension = loss_arguments.class_dimension(function, first)
        self._classes = first.shape[dimension] if dimension is not None else 1
        self._batch_size = first.shape[0] if first.ndim >= (2 if function in BY_CLASS else 1) else 1
        if function not in BY_CLASS:
            self._broadcast = self._broadcast or loss_arguments.is_broadcast(first, second)
        if first.grad_fn is not None and (self._previous[0] is None or self.context.sampled):
            node = graph_nodes.before_views(first.grad_fn)
            name = graph_nodes.name_of(node)
            size = graph_nodes.softmax_size(node) if graph_nodes.kind_of(node, name) == "softmax" else None
            self._previous = (name, size if size is not None else self._previous[1])
            if self._trace is not None and self._trace.calls:
                self._last_layer = _layer_that_made(self._trace, node, first.grad_fn)

    def _candidates(self) -> set[str]:
        """Before the first backward the first function called in a step is taken for the main one."""
        return {self._open[0][0]} if self._open else set()

    def _copy(
        self, function: str, first: Tensor, second: Tensor, args: Any, kwargs: Any, result: Tensor, side: _Batches
    ) -> None:
        dimension = loss_arguments.class_dimension(function, first)
        by_index = function in BY_CLASS and not second.is_floating_point()
        tensors = [thin(first.detach(), dimension), thin(second.detach(), None if by_index else dimension)]
        ignore = loss_arguments.read(function, args, kwargs).get("ignore_index", -100) if by_index else None
        tensors.append(torch.ne(second, ignore).sum() if ignore is not None else torch.tensor(second.numel()))
        before_steps = self.context.optimizer_steps == 0
        tensors.append(
            result.detach().float().mean() if before_steps or side is self._validation else torch.tensor(0.0)
        )
        shapes = (loss_arguments.unexpanded_shape(first), loss_arguments.unexpanded_shape(second), second.numel())
        keep_result = before_steps or side is self._validation
        self._later.put(
            tensors, lambda copies: self._take(function, copies, shapes, dimension, ignore, side, keep_result)
        )

    def _take(
        self,
        function: str,
        copies: list[Tensor],
        shapes: tuple[list[int], list[int], int],
        dimension: int | None,
        ignore: int | None,
        side: _Batches,
        keep_result: bool,
    ) -> None:
        """Adds one call, whose values are on the host now."""
        if self._main is not None and function != self._main:
            return
        first, second, kept, result = copies
        side.batches += 1
        side.input.add(shapes[0], first)
        by_index = ignore is not None
        labels = second[second != ignore] if by_index else second
        side.target.add(shapes[1], labels)
        count = int(kept)
        side.kept += count
        side.ignored += shapes[2] - count
        side.empty += count == 0
        if keep_result and len(side.results) < 1000:
            side.results.append(float(result))
        classes = first.shape[dimension] if dimension is not None else 1
        if by_index:
            side.labels.add(labels)
        elif function in BINARY and bool(((second == 0) | (second == 1)).all()):
            side.labels.add(second.long())
        if dimension is not None and classes >= 2:
            side.input_rows.add(first, dimension)
            if first.ndim == second.ndim and second.shape[dimension] == classes:
                side.target_rows.add(second, dimension)
            if function in BY_CLASS:
                side.predictions.add(first.argmax(dimension))
        elif function in BINARY:
            side.predictions.add((first > (0.5 if function == "binary_cross_entropy" else 0.0)).long())

    # -- which call is the loss ----------------------------------------------------------------------------------------

    def on_backward(self, root: Tensor) -> None:
        """Finds, in the first steps, which of the calls leads to the root."""
        if self._main is not None or self._steps >= FIRST_STEPS or not self._owned.graph(root):
            return
        began = perf_counter()
        if self._open:
            reached = _nodes_above(root)
            main = next((function for function, node in self._open if node in reached and function in MEASURED), None)
            main = main or next((function for function, node in self._open if node in reached), None)
            if main is not None:
                self._main = main
                self._calls = sum(function == main for function, _ in self._open)
        elif root.grad_fn is not None:
            self._own_loss += 1
            self._own_previous = graph_nodes.name_of(graph_nodes.before_views(root.grad_fn))
        self.context.spent_s += perf_counter() - began

    # -- the fact ----------------------------------------------------------------------------------------------------

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Takes what arrived, and sends the fact now and then."""
        self._later.poll()
        if self._calls:
            if sampled:  # other steps may close together
                self._calls_per_step = self._calls
            self._calls = 0
        self._steps += 1
        if self._trace is not None:
            self._trace.close(step)
        self._open = []
        seen = self._train.batches
        if self._main is None:
            if self._own_loss and self._steps in (3, FIRST_STEPS):
                self._send(step)
        elif seen != self._sent_batches and (
            self._steps == 1
            or any(self._sent_batches < mark <= seen for mark in SEND_AT)
            or seen >= self._sent_batches + SEND_EVERY
        ):
            self._send(step)

    def on_finish(self) -> None:
        """Sends what is known at the end."""
        self._later.poll(wait=True)
        if self._main is not None or self._own_loss:
            self._send(self.context.step)

    def _send(self, step: int) -> None:
        self._sent_batches = self._train.batches
        self.context.outbox.record("fact", "loss_call", step, self._fact() if self._main else self._unknown())

    def _unknown(self) -> dict[str, Any]:
        return {
            "function": None,
            "functions": dict(self._functions),
            "batches": self._own_loss,
            "previous_op": self._own_previous,
        }

    def _fact(self) -> dict[str, Any]:
        side, other = self._train, self._validation
        rows = side.input_rows
        return {
            "function": self._main,
            "functions": dict(self._functions),
            "arguments": self._arguments,
            "classes": self._classes,
            "batches": side.batches,
            "calls_per_step": self._calls_per_step,
            "batch_size": self._batch_size,
            "input": side.input.fact(),
            "target": side.target.fact(),
            "broadcast": self._broadcast,
            "label_counts": side.labels.fact(),
            "prediction_counts": side.predictions.fact(),
            "batch_label_entropy": side.labels.batch_entropy(),
            "one_hot": side.target_rows.one_hot if side.target_rows.seen else None,
            "kept": side.kept,
            "ignored": side.ignored,
            "empty_batches": side.empty,
            "value": statistics.fmean(side.results) if side.results else None,
            "previous_op": self._previous[0],
            "previous_dim": self._previous[1],
            "last_layer": self._last_layer,
            "rows_sum_to_one": rows.sum_to_one if rows.seen else None,
            "log_probabilities": rows.log_probabilities if rows.seen else None,
            "validation": {
                "batches": other.batches,
                "label_counts": other.labels.fact(),
                "prediction_counts": other.predictions.fact(),
                "input": other.input.fact(),
                "target": other.target.fact(),
                "value": statistics.fmean(other.results) if other.results else None,
            }
            if other.batches
            else None,
        }


def _readable(tensor: Tensor) -> bool:
    """Says whether values can be read without asking a tracer, a functional transform or another process for them."""
    return (
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.layout is torch.strided
        and not tensor.is_meta
        and not tensor.is_complex()
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and not torch._C._get_tracing_state()
        and tensor.numel() > 0
    )


def _nodes_above(root: Tensor) -> set[Any]:
    seen: set[Any] = set()
    waiting = [root.grad_fn]
    while waiting and len(seen) < _SEARCHED:
        node = waiting.pop(0)
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [item for item, _ in node.next_functions]
    return seen


def _layer_that_made(trace: ForwardTrace, *nodes: Any) -> str | None:
    for call in reversed(trace.calls):
        if any(made is node for made in call.made for node in nodes):
            return call.layer
    return None
