"""Measures the scores of fused attention before the softmax, on sampled steps: the largest, and how even the weights
are.

The fused kernel shows neither, so they are computed once more, for one head of one example and a few of its rows. Calls
are numbered in the order of the forward. Not for: attention that is written out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from client_hook.capture.base import Context, Signal

ROWS = 32  # queries
KEYS = 1_024
MOST_CALLS = 64  # of one forward
ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
NAMES = ("act/scores/", "act/attention_entropy/")


class AttentionSignal(Signal):
    """Hears of the training's own calls; the first forward of a step counts."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._found: list[Tensor] = []
        self._over = self._heard = False

    def attach(self) -> None:
        """Listens."""
        self.context.patches.subscribe(self)

    def arm(self, sampled: bool) -> None:
        """Begins to count the calls of a forward."""
        self._found.clear()
        self._over = False

    def attention(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Looks at one call."""
        if not self.context.sampled or self._over or not torch.is_grad_enabled() or len(self._found) >= MOST_CALLS:
            return
        given = dict(zip(ARGUMENTS, args, strict=False)) | dict(kwargs)
        query, key = given.get("query"), given.get("key")
        if isinstance(query, Tensor) and isinstance(key, Tensor) and query.requires_grad:
            self._found.append(_measure(query, key, given))

    def resume(self, midway: bool) -> None:
        """Says so where the wrapper stays away after plain steps."""
        if self._heard and self.context.patches.stuck:
            self.context.note("Fused attention is not heard any more: torch.compile came after the first steps.")

    def on_backward(self, root: Tensor) -> None:
        """Hears that the forward is over."""
        self._over = bool(self._found)

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Hands over what was measured."""
        found, self._found = self._found, []
        if not found:
            return
        self._heard = True
        columns = tuple(f"{name}{call}" for call in range(len(found)) for name in NAMES)
        if len({item.device for item in found}) == 1:
            self.context.readback.put(step, time_ms, columns, torch.cat(found))


def _measure(query: Tensor, key: Tensor, given: Mapping[str, Any]) -> Tensor:
    """Gives the largest |score| and the mean entropy of the weights, as a share of an even row's."""
    with torch.no_grad():
        rows = query.detach().reshape(-1, *query.shape[-2:])[0]
        keys = key.detach().reshape(-1, *key.shape[-2:])[0][:KEYS].float()
        causal = bool(given.get("is_causal"))
        count = min(len(rows), ROWS)
        at = len(rows) - 1 - torch.arange(count, device=rows.device) * len(rows) // count
        scale = given.get("scale") or 1.0 / math.sqrt(query.shape[-1])
        scores = rows[at].float() @ keys.T * scale
        mask = given.get("attn_mask")
        seen = torch.ones_like(scores, dtype=torch.bool)
        if causal:
            seen = torch.arange(len(keys), device=rows.device) <= at.unsqueeze(1)
        elif isinstance(mask, Tensor):
            part = mask.detach().reshape(-1, *mask.shape[-2:])[0].expand(len(rows), -1)[at][:, : len(keys)]
            seen = part if part.dtype == torch.bool else part > -1e4
            scores = scores if part.dtype == torch.bool else scores + part.float().masked_fill(~seen, 0.0)
        weights = torch.softmax(scores.masked_fill(~seen, -math.inf), dim=1)
        entropy = torch.special.entr(weights).nan_to_num(0.0).sum(1) / seen.sum(1).clamp(min=2).log()
        return torch.stack([scores.masked_fill(~seen, 0.0).abs().amax(), entropy.mean()])
