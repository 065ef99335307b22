"""Reads the structure of autograd's graph at the first backwards: the fact `graph`.

What is kept are names and counts; the graph itself is let go when the step closes. Not for: values of gradients
(gradients).
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from client_hook.capture import graph_nodes, overlaps, sines
from client_hook.capture.base import Context, Signal, held_by
from client_hook.capture.forward_trace import trace_of
from client_hook.capture.graph_paths import GraphPaths, Node
from client_hook.capture.later import Later
from client_hook.capture.left_over import left_over
from client_hook.capture.own_targets import Margins, OwnTargets
from client_hook.capture.owned import Owned
from client_hook.guard import quietly

SEND_AT = (1, 3)  # closed steps
MAX_WALKS = 12
MAX_NODES = 100_000
MAX_OPERATIONS = 32
MAX_PLAIN, MAX_PLAIN_ELEMENTS = 20, 1_000_000  # tensors that are no parameters, and what one of them may hold
MAX_LISTED = 1_000
MAX_VIEWS = 32
MARKED = 20  # graphs that are asked for again
ASKED_AGAIN = 100  # steps later


class GraphSignal(Signal):
    """Walks the graph of every backward in the first three steps: a GAN has one for each of its losses."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._owned = Owned(context)
        self._later = Later()
        self._trace = trace_of(context)
        self._steps = self._walks = self._nodes = 0
        self._truncated = False
        self._reached: set[str] = set()
        self._factors: set[str] = set()  # parameters that a product or convolution multiplies its input by
        self._penalised: set[str] = set()  # parameters whose own size enters a loss
        self._strangers: dict[int, tuple[weakref.ref[Tensor], dict[str, Any]]] = {}
        self._plain: dict[int, tuple[weakref.ref[Tensor], Tensor, set[int]]] = {}  # → tensor, its values, the steps
        self._second_order = False  # a loss of derivatives: coordinates ask for gradients there, and are no weights
        self._optimizers: list[weakref.ref[Optimizer]] = []  # all that are seen, watched or not
        self._held: set[int] = set()  # parameters, by id, of those: a graph of ours may outlive an optimizer of a round
        self._detached: dict[str, bool] = {}  # layer → none of its calls with a graph reached a loss
        self._first: dict[str, Any] = {}
        self._softmaxes: list[list[int]] = []  # the dimension of each, and the shape
        self._log_softmaxes: list[list[int]] = []
        self._sees: list[Tensor] = []  # what attention that is written out lets its places see
        self._views: list[list[list[int]]] = []  # shapes before and after, of those by which rows are counted anew
        self._twice: set[str] = set()
        self._crossed: list[int] = []  # samples whose outputs a loss subtracts from every target
        self._sines: dict[str, float] = {}
        self._overlap_of_scores = self._clipped_ratio = False
        self._paths = GraphPaths()
        self._margins = Margins(self._later)
        self._targets = OwnTargets(self._later)
        self._marks: list[weakref.ref[_Mark]] = []  # each lives as long as the graph that it was put on
        self._closed = self._told_held = 0

    def attach(self) -> None:
        """Listens to the first backwards."""
        self._trace.enter(self)
        self.context.patches.subscribe(self)

    def detach(self) -> None:
        """Listens no more."""
        self._later.clear()
        self._trace.leave(self)
        self._strangers.clear()
        self._plain.clear()

    def zero_grad(self, optimizer: Optimizer) -> None:
        """Learns of optimizers that are not watched: what they hold is nobody's forgotten layer."""
        if self._steps < SEND_AT[-1] and not any(item() is optimizer for item in self._optimizers):
            self._optimizers.append(weakref.ref(optimizer))
            self._held.update(map(id, held_by(optimizer)))

    def on_backward(self, root: Tensor) -> None:
        """Reads the graph before the backward frees it."""
        if len(self._marks) < MARKED and root.grad_fn is not None and self._owned.graph(root):
            mark = root.grad_fn.metadata["gradwatch"] = _Mark()  # type: ignore[index]
            self._marks.append(weakref.ref(mark))
        if (
            self._steps >= SEND_AT[-1]
            or self._walks >= MAX_WALKS
            or root.grad_fn is None
            or not self._owned.parameters(root)
        ):
            return
        self._walks += 1
        self._walk(root)

    def _walk(self, root: Tensor) -> None:
        self._margins.look(root.grad_fn)
        self._targets.look(root.grad_fn)
        layers = self._layers_of_nodes()
        order = self._sorted(root.grad_fn)
        for node in order:
            leaf = getattr(node.node, "variable", None) if node.name == graph_nodes.LEAF else None
            if leaf is not None:
                self._leaf(leaf)
            else:
                self._second_order = self._second_order or "BackwardBackward" in node.name
                node.layer, node.dropout_rate = layers.get(node.node, (None, None))
                if node.name.startswith(("Softmax", "LogSoftmax")) and (over := graph_nodes.softmax_over(node.node)):
                    known = self._softmaxes if node.name[0] == "S" else self._log_softmaxes
                    known.append([over[0], *node.node._saved_result.shape])
                    if known is self._softmaxes and not self._first:
                        self._sees += graph_nodes.sees(node.node)
                pair = graph_nodes.relabelled(node.node, node.name) if len(self._views) < MAX_VIEWS else None
                if pair is not None and pair not in self._views:
                    self._views.append(pair)
                self._clipped_ratio = self._clipped_ratio or graph_nodes.clips_a_ratio(node.node, node.name)
                if graph_nodes.squashed_twice(node.node, node.name):
                    self._twice.add(node.name)
                if len(self._sines) < sines.MOST:
                    self._sines |= sines.between_sines(node.node, node.name, self.context.parameter_name)
                if not self._first:
                    self._crossed += graph_nodes.crossed(node.node, node.name)
                names = map(self.context.parameter_name, graph_nodes.factors_of(node.node, node.name))
                sized = graph_nodes.sized_leaf(node.node, node.name)
                if sized is not None and (label := self.context.parameter_name(sized)) is not None:
                    self._penalised.add(label)
                self._factors.update(name for name in names if name is not None)
        self._overlap_of_scores = self._overlap_of_scores or overlaps.of_scores(order)
        self._look_for_detached({node.node for node in order})
        paths = GraphPaths.read(order)
        if len(paths.sequence) > len(self._paths.sequence):
            self._paths = paths  # of several losses the one that passes through most of the model
        if not self._first:
            self._nodes = len(order)
            self._first = {
                "root": graph_nodes.name_of(root.grad_fn),
                "scaled_by": graph_nodes.constant_factor(root.grad_fn),
                "operations": _operations(root.grad_fn),
                "reduced": quietly(getattr, root.grad_fn, "_saved_self_sym_sizes"),
                "softmaxes": self._softmaxes[:32],
                "log_softmaxes": self._log_softmaxes[:32],
                "crossed": self._crossed[:8],
            }

    def _sorted(self, start: Any) -> list[Node]:
        """Lists the nodes with every node after those that it uses: the order of the forward."""
        known: dict[Any, Node] = {}
        order: list[Node] = []
        stack: list[tuple[Any, bool]] = [(start, False)]
        while stack:
            item, done = stack.pop()
            if done:
                order.append(known[item])
                continue
            if item in known:
                continue
            if len(known) >= MAX_NODES:
                self._truncated = True
                continue
            inputs = graph_nodes.inputs_of(item)
            known[item] = Node(item, graph_nodes.name_of(item), inputs)
            stack.append((item, True))
            # later inputs first: the stack turns them round
            stack += [(other, False) for other in reversed(inputs) if other not in known]
        return order

    def _layers_of_nodes(self) -> dict[Any, tuple[str, float | None]]:
        """Gives each node to the module that made it: those between a call's inputs and its outputs."""
        owners: dict[Any, tuple[str, float | None]] = {}
        for call in self._trace.calls:
            if not call.with_graph:
                continue
            inside, given = [item for item in call.made if item not in call.given], set(call.given)
            rate = call.rate if call.training else None
            while inside:
                node = inside.pop()
                if node is None or node in given or node in owners:
                    continue
                owners[node] = (call.layer, rate)
                inside += [item for item, _ in node.next_functions]
        return owners

    def _leaf(self, leaf: Tensor) -> None:
        name = self.context.parameter_name(leaf)
        if name is not None:
            self._reached.add(name)
        elif len(self._strangers) < 1000:
            about = {
                "shape": list(leaf.shape),
                "dtype": str(leaf.dtype).removeprefix("torch."),
                "parameter": isinstance(leaf, nn.Parameter),
            }
            self._strangers[id(leaf)] = (weakref.ref(leaf), about)
            if not about["parameter"]:
                self._see_plain(leaf)

    def _see_plain(self, leaf: Tensor) -> None:
        """Keeps the first values of a tensor that is no parameter, to see whether the loop updates it by hand."""
        known = self._plain.get(id(leaf))
        if known is not None and known[0]() is leaf:
            known[2].add(self._steps)
        elif len(self._plain) < MAX_PLAIN and leaf.numel() <= MAX_PLAIN_ELEMENTS:
            self._plain[id(leaf)] = (weakref.ref(leaf), leaf.detach().clone(), {self._steps})

    def _look_for_detached(self, reached: set[Any]) -> None:
        for call in self._trace.calls:
            if not call.with_graph or not call.shape:
                continue
            reaches = any(node in reached for node in call.made)
            self._detached[call.layer] = self._detached.get(call.layer, True) and not reaches

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Sends the fact after the first step and after the third."""
        self._closed += 1
        if self._closed == ASKED_AGAIN:
            self._ask_again(step)
        self._later.poll()
        if self._steps >= SEND_AT[-1]:
            return
        self._steps += 1
        self._trace.close(step)
        if self._steps in SEND_AT and self._walks:
            self._send(step)
        if self._steps == SEND_AT[-1]:
            self._strangers.clear()
            self._plain.clear()
            self._paths = GraphPaths()

    def on_finish(self) -> None:
        """Sends what is known of a run that was shorter."""
        self._ask_again(self.context.step)
        self._later.poll(wait=True)
        if self._walks and 0 < self._steps < SEND_AT[-1]:
            self._send(self.context.step)

    def _ask_again(self, step: int) -> None:
        """Says how many of the first graphs somebody still holds."""
        held = sum(mark() is not None for mark in self._marks)
        if len(self._marks) == MARKED and (held or self._told_held):
            self._told_held = held
            fact = {"held": held, "of": MARKED, "steps": step + 1}
            self.context.outbox.record("fact", "kept_graphs", step, fact)

    def _send(self, step: int) -> None:
        trainable = {name: item.shape for name, item in self.context.parameters() if item.requires_grad}
        unreached = [] if self._truncated else [name for name in trainable if name not in self._reached]
        unused = [layer for layer, apart in self._detached.items() if apart]
        fact = {
            **self._first,
            "nodes": self._nodes,
            "truncated": self._truncated,
            "backwards": self._walks,
            "unreached": unreached,
            "left_over": left_over(trainable, unreached, unused, list(self._detached)),
            "factors": sorted(self._factors),
            "penalised": sorted(self._penalised),
            "unregistered": self._unregistered(),
            "detached": unused,
            "overlap_of_scores": self._overlap_of_scores,
            "clipped_ratio": self._clipped_ratio,
            "margin_targets": self._margins.fact(),
            "own_targets": self._targets.fact(),
            "views": self._trace.views + self._views,
            "twice": sorted(self._twice),
            "sines": self._sines,
            **self._paths.fact(),
        }
        found, many = self._attributes(), len(self._sees)

        def tell(came: list[Tensor]) -> None:
            fact["sees"] = [item.tolist() for item in came[:many]]
            fact["unregistered"] += [about for (about, _), same in zip(found, came[many:], strict=True) if same]
            self.context.outbox.record("fact", "graph", step, fact)

        self._later.put([*self._sees, *(same for _, same in found)], tell)
        self._later.poll()  # on the host everything has arrived

    def _unregistered(self) -> list[dict[str, Any]]:
        """Lists leaves that no watched model and no optimizer that was seen holds."""
        held = self._held_somewhere()
        return [
            about
            for key, (reference, about) in self._strangers.items()
            if reference() is not None and about["parameter"] and key not in held
        ]

    def _attributes(self) -> list[tuple[dict[str, Any], Tensor]]:
        """Lists plain tensors that watched modules keep, that took part in all of the first steps, and, as a value on
        their device, whether they stood still.

        What only passes through (a batch that asks for a gradient) is no attribute or another one in each step."""
        if self._steps < SEND_AT[-1] or self._second_order:
            return []
        lasting = {
            key: (leaf, values)
            for key, (reference, values, steps) in self._plain.items()
            if len(steps) >= SEND_AT[-1] and (leaf := reference()) is not None
        }
        if not lasting:
            return []
        held = self._held_somewhere()
        found = []
        for name, module in self.context.modules():
            for label, item in _tensors_of(vars(module)):
                if id(item) in lasting and id(item) not in held and lasting[id(item)][0] is item:
                    leaf, values = lasting.pop(id(item))
                    path = label if name == "model" else f"{name}.{label}"
                    about = self._strangers[id(leaf)][1]
                    if leaf.shape == values.shape and not leaf.is_meta:
                        found.append(({**about, "attribute": path}, (leaf.detach() == values).all()))
        return found

    def _held_somewhere(self) -> set[int]:
        seen = [item for reference in self._optimizers if (item := reference()) is not None]
        return self._held.union(map(id, held_by(*self.context.optimizers.values(), *seen)))


class _Mark:
    """Is put on a graph to learn when that goes."""


def _tensors_of(attributes: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Walks the tensors among a module's own attributes, lists and dicts of them too."""
    for label, value in attributes.items():
        if isinstance(value, Tensor):
            yield label, value
        elif label in _REGISTERED:
            continue
        elif isinstance(value, (list, tuple)) and len(value) <= MAX_LISTED:
            yield from ((f"{label}.{at}", item) for at, item in enumerate(value) if isinstance(item, Tensor))
        elif type(value) is dict and len(value) <= MAX_LISTED:
            yield from ((f"{label}.{key}", item) for key, item in value.items() if isinstance(item, Tensor))


_REGISTERED = frozenset({"_parameters", "_buffers", "_modules"})


def _operations(start: Any) -> list[str]:
    """Lists operations from the loss upward, nearest first, leaves left out."""
    names = map(graph_nodes.name_of, graph_nodes.nearest_first(start, MAX_NODES))
    return list(islice((name for name in names if name != graph_nodes.LEAF), MAX_OPERATIONS))
