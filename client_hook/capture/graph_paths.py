"""Finds what the paths through a graph show: weighted operations without an activation between them, dropout
before a norm.

Works on a list of nodes in the order of the forward. Not for: walking autograd's graph (graph).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from client_hook.capture import graph_nodes

MAX_SEQUENCE = 500
MAX_PAIRS = 100


@dataclass(eq=False)
class Node:
    """Describes one operation and what it uses."""

    node: Any
    name: str
    inputs: list[Any]
    layer: str | None = None
    dropout_rate: float | None = None


@dataclass
class _Arriving:
    """Holds what a path from the inputs brings along to the next operation."""

    weighted: int = 0  # weighted operations since the last activation
    first: str | None = None
    last: str | None = None
    any_weighted: bool = False
    dropouts: dict[str, tuple[float | None, bool]] = field(default_factory=dict)  # layer → rate, weighted between
    after: str | None = None  # the weighted layer just before, nothing but views between
    bend: Any = None  # the node behind which it is a line of what left that
    bends: int = 1  # how many such nodes the paths have that meet here


@dataclass
class GraphPaths:
    """Holds what is sent of the paths."""

    sequence: list[dict[str, Any]] = field(default_factory=list)
    weighted: int = 0
    activations: int = 0  # with a weighted operation before and one after
    linear_runs: list[dict[str, Any]] = field(default_factory=list)
    dropout_before_norm: list[dict[str, Any]] = field(default_factory=list)
    weighted_before_norm: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, order: list[Node]) -> GraphPaths:
        """Goes once through the nodes, inputs first."""
        paths = cls()
        arriving: dict[Any, _Arriving] = {}
        runs: dict[tuple[str | None, str | None], int] = {}
        for node in order:
            if node.name == graph_nodes.LEAF:
                continue
            kind = paths._kind(node)
            came = _merged([arriving[item] for item in node.inputs if item in arriving])
            if kind is not None:
                paths._append(node, kind)
            arriving[node.node] = paths._through(node, kind, came, runs)
        paths.activations = _activations_between(order)
        paths.linear_runs = [
            {"first": first, "last": last, "weighted": count} for (first, last), count in list(runs.items())[:MAX_PAIRS]
        ]
        return paths

    @staticmethod
    def _kind(node: Node) -> str | None:
        if node.dropout_rate is not None:
            return "dropout"
        return graph_nodes.kind_of(node.node, node.name)

    def _append(self, node: Node, kind: str) -> None:
        self.weighted += kind == "weighted"
        if kind != "product" and len(self.sequence) < MAX_SEQUENCE:
            self.sequence.append({"op": node.name, "layer": node.layer, "kind": kind})

    def _through(
        self, node: Node, kind: str | None, came: _Arriving, runs: dict[tuple[str | None, str | None], int]
    ) -> _Arriving:
        """Says what leaves this node on its way to the loss."""
        if kind is None:
            if not graph_nodes.is_passing(node.name):
                came.after = None
            if came.bends > 1:
                _bend(came, node)
            return came
        if kind == "weighted":
            label = node.layer or node.name
            count = came.weighted + 1
            first = came.first or label
            if count >= 2:
                runs.pop((came.first, came.last), None)
                runs[first, label] = count
            dropouts = {layer: (rate, True) for layer, (rate, _) in came.dropouts.items()}
            return _Arriving(count, first, label, True, dropouts, label, came.bend)
        if kind == "norm" and "BatchNorm" in node.name:
            for layer, (rate, between) in came.dropouts.items():
                entry = {"dropout": layer, "p": rate, "norm": node.layer, "weighted_between": between}
                _add(self.dropout_before_norm, entry)
            came.dropouts = {}
        if kind == "norm":
            if came.after is not None:
                _add(self.weighted_before_norm, {"layer": came.after, "norm": node.layer})
            came.after = None
            return came
        if kind == "dropout":
            came.dropouts = {**came.dropouts, (node.layer or node.name): (node.dropout_rate, False)}
        elif _bends(node, kind):
            _bend(came, node)
        came.after = None
        return came

    def fact(self) -> dict[str, Any]:
        """Makes the keys of the fact `graph`."""
        return {
            "sequence": self.sequence,
            "weighted": self.weighted,
            "activations": self.activations,
            "linear_runs": self.linear_runs,
            "dropout_before_norm": self.dropout_before_norm,
            "weighted_before_norm": self.weighted_before_norm,
        }


def _add(found: list[dict[str, Any]], entry: dict[str, Any]) -> None:
    """Adds what is not known yet: a module may be called several times."""
    if len(found) < MAX_PAIRS and entry not in found:
        found.append(entry)


def _bend(came: _Arriving, node: Node) -> None:
    """Ends a run of weighted operations."""
    came.weighted, came.first, came.last, came.bend = 0, None, None, node.node


def _merged(ways: list[_Arriving]) -> _Arriving:
    """Joins paths that meet: the longest run without an activation, and the dropouts of all. Where they bent in
    different places (a block and the way around it), their sum is a line of neither."""
    if not ways:
        return _Arriving()
    longest = max(ways, key=lambda way: way.weighted)
    dropouts: dict[str, tuple[float | None, bool]] = {}
    for way in ways:
        for layer, (rate, between) in way.dropouts.items():
            dropouts[layer] = (rate, between and dropouts.get(layer, (rate, True))[1])
    return _Arriving(
        longest.weighted,
        longest.first,
        longest.last,
        any(way.any_weighted for way in ways),
        dropouts,
        ways[0].after if len(ways) == 1 else None,
        longest.bend,
        len({way.bend for way in ways if way.any_weighted or way.bend is not None}),
    )


def _bends(node: Node, kind: str | None) -> bool:
    """Says whether what leaves an operation is no line of what arrives: so it is of attention, a product of two."""
    return kind in ("activation", "softmax") or (kind == "product" and graph_nodes.joins_two(node.node))


def _activations_between(order: list[Node]) -> int:
    """Counts activations that have a weighted operation before them and one after."""
    nodes = [(node, GraphPaths._kind(node)) for node in order if node.name != graph_nodes.LEAF]
    kinds = {node.node: kind for node, kind in nodes}
    before: set[Any] = set()
    for node in order:
        if any(item in before or kinds.get(item) == "weighted" for item in node.inputs):
            before.add(node.node)
    after: set[Any] = set()
    for node in reversed(order):
        if kinds.get(node.node) == "weighted" or node.node in after:
            after.update(node.inputs)
    recurrent = sum(1 for node in order if kinds.get(node.node) == "activation" and graph_nodes.is_recurrent(node.name))
    between = sum(1 for node, kind in nodes if node.node in before and node.node in after and _bends(node, kind))
    return max(between, recurrent)
