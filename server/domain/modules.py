"""The module tree of a model, from the dotted names of its layers or parameters, and what of it is unfolded.

Not for: order (whoever has the model table sorts the names first).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

EVERYTHING = "*"
COMFORTABLE_ROWS = 60


@dataclass
class Module:
    """One node: `own` is the place of the name that it bears itself, if any; `leaves` are all places under it."""

    path: str
    word: str
    children: list[Module] = field(default_factory=list)
    own: int | None = None
    leaves: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """One row that is shown: a name, or a folded module with all that is under it."""

    path: str
    members: tuple[int, ...]
    folded: bool


def tree(names: Sequence[str]) -> Module:
    """Builds the tree of dotted names, each module where its first name stands."""
    root = Module("", "")
    known = {"": root}
    for place, name in enumerate(names):
        parts = name.split(".")
        at = root
        at.leaves.append(place)
        for depth in range(1, len(parts) + 1):
            path = ".".join(parts[:depth])
            node = known.get(path)
            if node is None:
                node = known[path] = Module(path, parts[depth - 1])
                at.children.append(node)
            if node is not root:  # the model itself has an empty name
                node.leaves.append(place)
            at = node
        at.own = place
    return root


def opened(root: Module, asked: Collection[str], most: int = COMFORTABLE_ROWS) -> set[str]:
    """Says which modules are unfolded: those that were asked for, else whole levels while they are easy to look at."""
    if EVERYTHING in asked:
        return {node.path for node in _inner(root)}
    if asked:
        return set(asked)
    found: set[str] = set()
    shown = len(root.children)
    level = [child for child in root.children if child.children]
    while level:
        shown += sum(len(node.children) - (1 if node.own is None else 0) for node in level)
        alone = len(root.children) == 1 and not found  # one row of everything would say nothing
        if shown > most and not alone:
            break
        found |= {node.path for node in level}
        level = [child for node in level for child in node.children if child.children]
    return found


def rows(root: Module, unfolded: Collection[str]) -> list[Row]:
    """Lists the rows that are shown, from the top of the model down."""
    found: list[Row] = [] if root.own is None else [Row("", (root.own,), False)]
    waiting = list(reversed(root.children))
    while waiting:
        node = waiting.pop()
        if node.children and node.path not in unfolded:
            found.append(Row(node.path, tuple(node.leaves), True))
            continue
        if node.own is not None:
            found.append(Row(node.path, (node.own,), False))
        waiting += reversed(node.children)
    return found


def _inner(root: Module) -> list[Module]:
    found: list[Module] = []
    waiting = [root]
    while waiting:
        node = waiting.pop()
        inner = [child for child in node.children if child.children]
        found += inner
        waiting += inner
    return found
