"""Computes what attention is allowed to see, and whether targets are the next tokens; the fact `sight` sends it.

Nothing here waits for a device. Not for: which calls are looked at (foresight).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from client_hook.capture import graph_nodes

SHORTEST = 4  # tokens: in less nothing can be told apart
HIDDEN = -1e4  # what is added to a score that is not to count, at most
MOST = 4_000  # nodes of a loss's graph that are looked at


@dataclass(frozen=True)
class Sight:
    """Says of one self-attention over how many places it goes, whether every place sees the same ones (True or False,
    or a tensor where a mask says it), and which tokens of each row the last place sees (None: all)."""

    length: int
    open: bool | Tensor
    last: Tensor | None = None


def fused(given: Mapping[str, Any]) -> Sight | None:
    """Reads the arguments of fused attention; None where queries and keys are not the same places."""
    query, key, mask = given.get("query"), given.get("key"), given.get("attn_mask")
    if not isinstance(query, Tensor) or not isinstance(key, Tensor) or min(query.ndim, key.ndim) < 3:
        return None
    length = query.shape[-2]
    if key.shape[-2] != length or length < SHORTEST:
        return None
    if not isinstance(mask, Tensor):
        return Sight(length, not given.get("is_causal"))
    seen = _seen(mask)
    rows = seen.reshape(len(seen), -1, seen.shape[-1])[:, -1] if seen.ndim == 4 else None
    return Sight(length, _alike(seen), rows)


def multihead(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Sight | None:
    """Reads the arguments of `nn.MultiheadAttention`, whose masks say True where nothing is to be seen."""
    names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    query: Any = given.get("query")
    mask, padding = given.get("attn_mask"), given.get("key_padding_mask")
    if given.get("key") is not query or not isinstance(query, Tensor) or query.ndim != 3:
        return None
    length = query.shape[1 if module.batch_first else 0]
    if length < SHORTEST:
        return None
    return Sight(
        length,
        _alike(_seen(mask, True)) if isinstance(mask, Tensor) else not given.get("is_causal"),
        _seen(padding, True) if isinstance(padding, Tensor) and padding.ndim == 2 else None,
    )


def written_out(root: Tensor, shape: tuple[int, int]) -> Tensor | None:
    """Gives, for texts of a shape (rows, places), which places any other sees by the last softmax from each to every
    place in a loss's graph, as attention that is written out has it; None where there is none."""
    for node in graph_nodes.nearest_first(root.grad_fn, MOST):
        over = graph_nodes.softmax_over(node) if "Softmax" in graph_nodes.name_of(node) else None
        if over is not None:
            chances: Tensor = graph_nodes.saved(node, "result")
            size = tuple(chances.shape)
            if over[0] == chances.ndim - 1 and chances.ndim > 2 and (size[0], *size[-2:]) == (*shape, shape[1]):
                return (chances.detach() > 0).reshape(shape[0], -1, shape[1]).any(1)
    return None


def _seen(mask: Tensor, hides: bool = False) -> Tensor:
    mask = mask.detach()
    if mask.dtype is not torch.bool:
        return mask > HIDDEN
    return ~mask if hides else mask


def _alike(seen: Tensor) -> bool | Tensor:
    """Says whether every place sees the same others: a mask of padding alone."""
    if seen.ndim < 2 or seen.shape[-2] == 1:
        return True
    return (seen == seen[..., :1, :]).all()


def next_tokens(tokens: Tensor, targets: Tensor, ignored: int) -> list[Tensor]:
    """Counts, with the places in either dimension: targets that count, those that are the next token, those where that
    is another one than the token itself, those that are the token at their place, and of the others those that stand
    where one and the same token (a mask, which has the largest or the smallest number) covers them."""
    found = []
    for dimension in (1, 0):
        rows = tokens.movedim(dimension, 1)
        whole, shape = tokens.shape, list(tokens.shape)
        if targets.numel() != tokens.numel():  # a model that reads all, and is not asked for what follows the last
            shape[dimension] -= 1
        if targets.numel() != shape[0] * shape[1] or whole[dimension] < SHORTEST:
            found.append(torch.zeros(5, device=tokens.device))
            continue
        wanted = targets.reshape(shape).movedim(dimension, 1)[:, : whole[dimension] - 1]
        counts = wanted != ignored
        right = counts & (wanted == rows[:, 1:])
        here = rows[:, :-1]
        same = counts & (wanted == here)
        other = counts & ~same
        covered = [(other & (here == end)).sum() for end in _ends(here, other)]
        told = (counts & (rows[:, 1:] != here)).sum()
        found.append(torch.stack([counts.sum(), right.sum(), told, same.sum(), torch.maximum(*covered)]).float())
    return found


def _ends(tokens: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """Gives the largest and the smallest token that is shown."""
    low, high = torch.iinfo(tokens.dtype).min, torch.iinfo(tokens.dtype).max
    return tokens.masked_fill(~shown, low).amax(), tokens.masked_fill(~shown, high).amin()


def only_padding(tokens: Tensor, seen: Tensor) -> Tensor | None:
    """Says whether something is hidden, and whether what is seen beside it is one and the same token everywhere, and
    what is hidden is not; None where the mask does not belong to the tokens."""
    if tokens.shape != seen.shape:
        return None

    def differ(shown: Tensor) -> Tensor:
        largest, smallest = _ends(tokens, shown)
        return largest - smallest

    one, several = differ(seen & ~seen.all(1, keepdim=True)) == 0, differ(~seen) > 0
    return torch.stack([seen.any() & ~seen.all(), one & several & seen.any() & ~seen.all()])
