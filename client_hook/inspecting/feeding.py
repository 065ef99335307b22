"""Finds in a batch what the model is called with, as preflight does: without targets, on the model's device.

Not for: running it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from client_hook.guard import attempted
from client_hook.inspecting.errors import InspectError
from client_hook.preflight import trees
from client_hook.preflight.subject import TARGET_NAMES


@dataclass(eq=False)
class Fed:
    """Holds the arguments of one call; `given` is each tensor in them with its place, `watched` those of floats, that
    gradients are asked for."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    samples: int = 0
    watched: dict[str, Tensor] = field(default_factory=dict)
    given: list[tuple[str, Tensor]] = field(default_factory=list)


def feed(model: nn.Module, batch: Any, *, whole: bool = False) -> Fed:
    """Makes the arguments of a batch, `whole` with the targets of a dict; raises InspectError where it holds no
    tensor."""
    if isinstance(batch, torch.utils.data.DataLoader):
        raise InspectError("batch: got a DataLoader; pass one batch of it: next(iter(loader))")
    args, kwargs = _split(model, batch, whole=whole)
    tree = [*args, kwargs] if kwargs else list(args)
    words = {str(at): word for at, word in enumerate(_arguments(model)[0][: len(args)])}
    named = [(_named(name, words).removeprefix(f"{len(args)}."), item) for name, item in trees.leaves(tree)]
    if not named:
        raise InspectError(f"batch: found no tensor in {type(batch).__name__}; pass what the model takes, or a batch")
    device = next((item.device for item in model.parameters()), named[0][1].device)
    watched: dict[str, Tensor] = {}
    given: list[tuple[str, Tensor]] = []

    def place(item: Tensor) -> Tensor:
        name = named[len(given)][0]
        here = item.detach().to(device)
        given.append((name, here))
        own = here.clone()  # which a model may change in place
        if (
            not here.is_floating_point()
            or here.dtype.itemsize == 1
            or here.layout is not torch.strided
            or not here.ndim
        ):
            return own
        watched[name] = own.requires_grad_()
        return watched[name] * 1

    placed = trees.convert(tree, place)
    args, kwargs = (tuple(placed[:-1]), placed[-1]) if kwargs else (tuple(placed), {})
    samples = next((item.shape[0] for _, item in given if item.ndim), 0)
    return Fed(args, dict(kwargs), samples, watched, given)


def _named(place: str, words: dict[str, str]) -> str:
    """Gives an argument the name that the model's forward has for it."""
    first, dot, rest = place.partition(".")
    return words.get(first, first) + dot + rest


def _split(model: nn.Module, batch: Any, *, whole: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    names, needed, any_name = _arguments(model)
    if isinstance(batch, Mapping):
        given = {str(key): item for key, item in batch.items()}
        kept = {key: item for key, item in given.items() if whole or key not in TARGET_NAMES or key in needed}
        if any_name or set(kept) <= set(names):
            return (), kept
        known = {key: item for key, item in kept.items() if key in names}
        return ((), known) if known else (tuple(kept.values())[:1], {})
    if isinstance(batch, (tuple, list)) and len(batch) > 1 and not hasattr(batch, "_fields"):
        return (tuple(batch) if len(needed) == len(batch) else tuple(batch[:-1])), {}
    return (tuple(batch) if type(batch) in (tuple, list) else (batch,)), {}


def _arguments(model: nn.Module) -> tuple[list[str], list[str], bool]:
    """Lists the arguments of a model's forward, and those that it needs; says whether it takes any other by name."""
    signature, error = attempted(inspect.signature, model.forward)
    if error is not None:
        return [], [], True
    items = list(signature.parameters.values())
    plain = [item for item in items if item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD)]
    needed = [item.name for item in plain if item.default is item.empty]
    return [item.name for item in plain], needed, any(item.kind is item.VAR_KEYWORD for item in items)
