"""Walks through batches and outputs: tensors, and tuples, lists and mappings of them.

Not for: knowing which of them are inputs and which targets (subject).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor


def convert(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Copies a tree with every tensor changed; what is no tensor stays as it is."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Mapping):
        items = {key: convert(item, change) for key, item in tree.items()}
        return items if type(tree) is dict else _alike(tree, items)
    if isinstance(tree, (list, tuple)):
        return like(tree, [convert(item, change) for item in tree])
    return tree


def like(tree: Any, items: list[Any]) -> Any:
    """Makes a list, tuple or named tuple of the same type."""
    return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)


def leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Gives every tensor of a tree with its place: "", "0", "labels", "0.mask"."""
    if isinstance(tree, Tensor):
        yield name, tree
    elif isinstance(tree, Mapping):
        for key, item in tree.items():
            yield from leaves(item, f"{name}.{key}" if name else str(key))
    elif isinstance(tree, (list, tuple)):
        for index, item in enumerate(tree):
            yield from leaves(item, f"{name}.{index}" if name else str(index))
    elif hasattr(tree, "__dataclass_fields__"):
        yield from leaves({key: getattr(tree, key) for key in tree.__dataclass_fields__}, name)


def replace(tree: Any, place: str, tensor: Tensor, name: str = "") -> Any:
    """Copies a tree with another tensor in one place, which is named as `leaves` does."""
    if isinstance(tree, Tensor):
        return tensor if name == place else tree
    if isinstance(tree, Mapping):
        items = {key: replace(item, place, tensor, f"{name}.{key}" if name else str(key)) for key, item in tree.items()}
        return items if type(tree) is dict else _alike(tree, items)
    if isinstance(tree, (list, tuple)):
        return like(
            tree,
            [replace(item, place, tensor, f"{name}.{at}" if name else str(at)) for at, item in enumerate(tree)],
        )
    return tree


def _alike(tree: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    """Makes a mapping of the same type where that takes a dict (BatchEncoding, OrderedDict), else a dict."""
    try:
        return type(tree)(items)  # type: ignore[call-arg]
    except TypeError:
        return items
