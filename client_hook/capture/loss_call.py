"""Looks at what the loss function is called with: the fact `loss_call`.

Not for: the loss as `monitor.step` is told it (loss), or judging any of it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor

from client_hook.capture import graph_nodes, loss_arguments, loss_root
from client_hook.capture.base import Context, Signal
from client_hook.capture.forward_trace import ForwardTrace, trace_of
from client_hook.capture.later import Later
from client_hook.capture.loss_arguments import BY_CLASS, MEASURED
from client_hook.capture.loss_batches import Batches, Sizes
from client_hook.capture.owned import Owned
from client_hook.capture.tensors import is_wrapped, readable
from client_hook.capture.watched_calls import is_validation

FIRST_STEPS = 8  # every call in them is looked at …
MOST_CALLS = 1_000  # … up to so many in one step
SEND_AT = frozenset({1, 3, 8, 20})  # batches
SEND_EVERY = 50
VALIDATION_CALLS = 20  # looked at; then every 16th


class LossCallSignal(Signal):
    """Copies a few thousand values of a call to the host, in the first steps and on sampled ones; the rest waits
    until the step closes."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._owned = Owned(context)
        self._later = Later()
        self._trace = trace_of(context)
        self._train = Batches()
        self._validation = Batches()
        self._functions: Counter[str] = Counter()
        self._looked_at = -1  # the newest step in which a call was looked at
        # (function, graph node of the result) of the open step's calls, in the first steps
        self._open: list[tuple[str, Any]] = []
        self._main: str | None = None
        self._steps = 0
        self._calls = self._calls_per_step = 0
        self._arguments: dict[str, Any] = {}
        self._classes: int | None = None
        self._shaped: str | None = None  # the function whose classes these are
        self._fresh: int | None = None  # versions of the parameters, added up, at the first call
        self._batch_size: int | None = None
        self._broadcast = False
        self._previous: tuple[str | None, int | None] = (None, None)
        self._last_layer: str | None = None
        self._own_loss = 0  # backwards without any known loss function
        self._axis: int | None = None  # along which dimension of the input a softmax normalised
        self._own_previous: str | None = None
        self._sent_batches = self._sent_validation = 0
        self._sent_lesson: list[tuple[int, int]] = []
        self._validation_calls = 0
        self._failed = False
        self._turned = False  # the newest call in training was f(targets, outputs)
        self._scaled = False
        self._made: set[Any] = set()  # graph nodes of the open step's results, in the first steps and on sampled ones
        self._covered: bool | None = None  # whether every backward seen began at such results and nothing else
        self._trained = False  # since the newest loss without a gradient
        self._alone: bool | None = None  # whether the backward began at results of known losses and nothing else

    def attach(self) -> None:
        """Listens to the loss functions."""
        self._trace.enter(self)
        self.context.patches.subscribe(self)
        self.context.on_bad_loss = self._look_at_targets

    def detach(self) -> None:
        """Listens no more."""
        self.context.on_bad_loss = None
        self._trace.leave(self)
        self._later.clear()
        self._open = []
        self._made = set()

    # -- the call ----------------------------------------------------------------------------------------------------

    def loss_call(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """Hears one call of a loss function."""
        # a functional transform (vmap, func.grad) runs inside a call; what it sees is no loss of the loop
        training = isinstance(result, Tensor) and result.requires_grad and not is_wrapped(result)
        if training:
            self._trained = True
            self._functions[function] += 1
            self._calls += function == self._main
            if self._steps >= FIRST_STEPS and not self.context.sampled:
                return
            # another monitor's: nobody would let go of its graph here
            if len(self._made) >= MOST_CALLS or not self._owned.graph(result):
                return
            self._made.add(result.grad_fn)
            self._looked_at = self.context.open_step
        else:
            self._validation_calls += 1
            if not is_validation(self.context, args, result):
                return
            self.context.wake()  # what was forgotten after it is heard in the next steps
            if self._validation_calls > VALIDATION_CALLS and self._validation_calls % 16:
                return
        self._look(function, args, kwargs, result, training)

    def plain_unlearned(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """Notices a validation in plain steps."""
        if is_validation(self.context, args, result) and self.context.wake():
            self.context.patches.tell(self.context, "loss_call", function, args, kwargs, result)

    def loss_failed(self, function: str, args: Any, kwargs: Any) -> None:
        """Hears that a call raised. The run is likely to end here, so labels that are no class are told at once."""
        tensors = loss_arguments.tensors_of(args, kwargs)
        if self._failed or tensors is None or not all(map(readable, tensors)) or function not in BY_CLASS:
            return
        first, second = tensors
        if self._is_another(function, first):
            self._train = Batches()  # what is told is this call alone
        if self._main not in (None, function) or second.is_floating_point() or not (first.is_cpu and second.is_cpu):
            return
        self._failed = True
        known, self._main = self._main, function
        with torch.no_grad():
            self._note(function, first, second, args, kwargs)
            self._copy(function, first, second, args, kwargs, None, self._train)
        self._later.poll(wait=True)
        self._send(self.context.step)
        if known is None:  # the program may go on, with another loss
            self._main, self._train = None, Batches()

    plain_loss_failed = loss_failed

    @torch.no_grad()
    def _look_at_targets(self) -> None:
        """Asks whether any label counts, where a loss is no number in a step of which no call was looked at."""
        targets, ignore, step = (
            self.context.patches.targets,
            self._arguments.get("ignore_index"),
            self.context.open_step,
        )
        if self._looked_at == step or self._main not in BY_CLASS or ignore is None or targets is None:
            return
        if targets.is_cpu and not targets.is_floating_point() and bool((targets == ignore).all()):
            self._looked_at = step
            self._train.add_empty(targets.numel())
            self._send(step)

    @torch.no_grad()
    def _look(self, function: str, args: Any, kwargs: Any, result: Any, training: bool) -> None:
        tensors = loss_arguments.tensors_of(args, kwargs, function)
        if tensors is None or not isinstance(result, Tensor) or not all(map(readable, (*tensors, result))):
            return
        if training and self._steps < FIRST_STEPS:
            self._open.append((function, result.grad_fn))
        if self._main is not None and function != self._main:
            return
        if self._main is None and not training:
            return
        if function not in MEASURED:
            return
        first, second = tensors
        if training:
            self._turned = bool(args) and first is not args[0]
        elif self._turned:  # nothing in a validation has a graph that would tell
            first, second = second, first
        if self._is_another(function, first):
            return
        if training:
            self._note(function, first, second, args, kwargs)
        self._copy(function, first, second, args, kwargs, result, self._train if training else self._validation)

    def _is_another(self, function: str, first: Tensor) -> bool:
        """Says whether a call names things by other classes than the main one, as a second head does."""
        if function not in BY_CLASS or function != self._shaped:
            return False
        dimension = loss_arguments.class_dimension(function, first)
        return (first.shape[dimension] if dimension is not None else 1) != self._classes

    def _is_fresh(self) -> bool:
        """Says whether nothing wrote to a parameter since the first call: a closure is evaluated between writes."""
        if self.context.optimizer_steps:
            return False
        versions = sum(parameter._version for _, parameter in self.context.parameters())
        self._fresh = versions if self._fresh is None else self._fresh
        return versions == self._fresh

    def _note(self, function: str, first: Tensor, second: Tensor, args: Any, kwargs: Any) -> None:
        """Keeps what needs no value of a tensor."""
        if self._main is None and function not in self._candidates():
            return
        self._arguments = loss_arguments.read(function, args, kwargs)
        dimension = loss_arguments.class_dimension(function, first)
        self._classes = first.shape[dimension] if dimension is not None else 1
        self._shaped = function
        self._batch_size = first.shape[0] if first.ndim >= (2 if function in BY_CLASS else 1) else 1
        if function not in BY_CLASS:
            self._broadcast = self._broadcast or loss_arguments.is_broadcast(first, second)
        if first.grad_fn is not None and (self._previous[0] is None or self.context.sampled):
            node = graph_nodes.before_views(first.grad_fn)
            bounded = graph_nodes.before_factors(node)
            if bounded is not None and graph_nodes.name_of(bounded).startswith(("Tanh", "Sigmoid")):
                node = bounded
            name = graph_nodes.name_of(node)
            over = graph_nodes.softmax_over(node) if graph_nodes.kind_of(node, name) == "softmax" else None
            self._axis = over[0] if over is not None and node is first.grad_fn else None
            size = over[1] if over is not None else None
            self._previous = (name, size if size is not None else self._previous[1])
            if self._trace.calls:
                self._last_layer = _layer_that_made(self._trace, node, first.grad_fn)

    def _candidates(self) -> set[str]:
        """Before the first backward the first function called in a step is taken for the main one."""
        return {self._open[0][0]} if self._open else set()

    def _copy(
        self, function: str, first: Tensor, second: Tensor, args: Any, kwargs: Any, result: Tensor | None, side: Batches
    ) -> None:
        """Asks for some values of the call; a result counts before the parameters are written to, and in validation."""
        if side is self._train and not self._is_fresh():
            result = None
        read = loss_arguments.read(function, args, kwargs)
        sizes = Sizes.of(function, first, second, read.get("ignore_index", -100))
        wanted = sizes.thinned(first, second, result)
        begins = side is self._validation and self._trained
        self._trained = self._trained and not begins
        step = self.context.open_step
        self._later.put(wanted, lambda copies: self._take(function, copies, sizes, side, begins, step))

    def _take(self, function: str, copies: list[Tensor], sizes: Sizes, side: Batches, begins: bool, step: int) -> None:
        """Adds one call, whose values are on the host now; an evaluation may begin with it."""
        if self._main in (None, function):
            if begins:
                side.mark()
            side.add(function, copies, sizes, step)

    def scale(self, scaler: Any) -> None:
        """Hears that a gradient scaler scales a loss."""
        self._scaled = True

    # -- which call is the loss ----------------------------------------------------------------------------------------

    def on_backward(self, root: Tensor) -> None:
        """Finds, in the first steps, which of the calls leads to the root."""
        if self._covered is not False and (self._steps < FIRST_STEPS or self.context.sampled):
            self._cover(root)
        if self._main is not None or self._steps >= FIRST_STEPS or not self._owned.graph(root):
            return
        if self._open:
            reached = loss_root.nodes_above(root)
            main = next((function for function, node in self._open if node in reached and function in MEASURED), None)
            main = main or next((function for function, node in self._open if node in reached), None)
            if main is not None:
                self._main = main
                self._calls = sum(function == main for function, _ in self._open)
                known = {node for function, node in self._open if function in loss_root.NEVER_NEGATIVE}
                self._alone = loss_root.is_alone(root.grad_fn, known, self._scaled)
        elif root.grad_fn is not None:
            self._own_loss += 1
            self._own_previous = graph_nodes.name_of(graph_nodes.before_views(root.grad_fn))

    def _cover(self, root: Tensor) -> None:
        if self._owned.graph(root):
            self._covered = loss_root.is_alone(root.grad_fn, self._made, self._scaled)
            self.context.loss_alone = self._covered

    # -- the fact ----------------------------------------------------------------------------------------------------

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Takes what arrived, and sends the fact now and then."""
        self._later.poll()
        if self._calls:
            if sampled:  # other steps may close together
                self._calls_per_step = self._calls
            self._calls = 0
        self._steps += 1
        self._trace.close(step)
        self._open = []
        self._made = set()
        seen = self._train.batches
        fresh = self._validation.batches >= max(2 * self._sent_validation, 1)  # so that what it shows is known soon
        if self._main is None:
            if self._own_loss and self._steps in (3, FIRST_STEPS):
                self._send(step)
        elif fresh or (
            seen != self._sent_batches
            and (
                self._steps == 1
                or any(self._sent_batches < mark <= seen for mark in SEND_AT)
                or seen >= self._sent_batches + SEND_EVERY
                or self._train.lessons[-1:] != self._sent_lesson
            )
        ):
            self._send(step)

    def on_finish(self) -> None:
        """Sends what is known at the end."""
        self._later.poll(wait=True)
        if self._main is not None or self._own_loss:
            self._send(self.context.step)

    def _send(self, step: int) -> None:
        self._sent_batches, self._sent_validation = self._train.batches, self._validation.batches
        self._sent_lesson = self._train.lessons[-1:]
        self.context.outbox.record("fact", "loss_call", step, self._fact() if self._main else self._unknown())

    def _unknown(self) -> dict[str, Any]:
        return {
            "function": None,
            "functions": dict(self._functions),
            "batches": self._own_loss,
            "previous_op": self._own_previous,
        }

    def _fact(self) -> dict[str, Any]:
        side, rows = self._train, self._train.input_rows
        return {
            **side.fact(),
            "function": self._main,
            "functions": dict(self._functions),
            "alone": self._alone,
            "arguments": self._arguments,
            "classes": self._classes,
            "calls_per_step": self._calls_per_step,
            "batch_size": self._batch_size,
            "broadcast": self._broadcast,
            "batch_label_entropy": side.labels.batch_entropy(),
            "label_entropies": side.labels.entropies(),
            "new_classes": side.lessons,
            "one_hot": side.target_rows.one_hot if side.target_rows.seen else None,
            "kept": side.kept,
            "ignored": side.ignored,
            "empty_batches": side.empty,
            "fewest_kept": side.fewest,
            "places": side.places,
            "idle_places": side.idle_places,
            "same_places": side.same_places,
            "run_out": side.run_out,
            "previous_op": self._previous[0],
            "previous_dim": self._previous[1],
            "previous_axis": self._axis,
            "last_layer": self._last_layer,
            "rows_sum_to_one": rows.sum_to_one if rows.seen else None,
            "log_probabilities": rows.log_probabilities if rows.seen else None,
            "validation": (
                {**self._validation.fact(), "later_half": self._validation.later_half()}
                if self._validation.batches
                else None
            ),
        }


def _layer_that_made(trace: ForwardTrace, *nodes: Any) -> str | None:
    for call in reversed(trace.calls):
        if any(made is node for made in call.made for node in nodes):
            return call.layer
    return None
