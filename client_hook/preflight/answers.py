"""Reads what a model or a loss function returned: the loss, the output and the parts of the loss.

Not for: calling them (subject).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from client_hook.preflight import trees
from client_hook.preflight.errors import PreflightError, kind, shape


@dataclass
class Answer:
    """What one forward gave: the loss, what the model answered, and the parts of the loss by name, if it has any."""

    loss: Tensor
    output: Any
    parts: dict[str, Tensor] = field(default_factory=dict)

    @property
    def main(self) -> Tensor | None:
        """The output that the loss is about: `logits` where there are some, else the first floats."""
        output = self.output
        named = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
        if isinstance(named, Tensor):
            return named
        floats = [item for _, item in trees.leaves(output) if item.is_floating_point() and item.ndim > 0]
        return floats[0] if floats else None


class Answers:
    """Reads the answers of one model; remembers which parts of its loss have a gradient."""

    def __init__(self) -> None:
        self._part_names: set[str] = set()

    def own(self, output: Any) -> Answer:
        """Reads the loss that a model, or the user's forward, returned itself."""
        if isinstance(output, Tensor):
            return Answer(_scalar(output, alone=True), output)
        loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
        if isinstance(loss, Tensor):
            return Answer(_scalar(loss), output, self._parts(output) if type(output) is dict else {})
        if isinstance(output, (tuple, list)) and output and isinstance(output[0], Tensor) and output[0].numel() == 1:
            return Answer(_scalar(output[0]), output[1:])
        raise PreflightError(
            f"loss_fn: got None, and the model returned {kind(output)} without a loss; pass "
            "loss_fn=function(output, targets)"
        )

    def of_function(self, result: Any, output: Any) -> Answer:
        """Reads what a loss function returned: a loss, a dict of its parts, or a loss and such a dict."""
        if isinstance(result, Mapping):
            loss = result.get("loss")
            parts = self._parts(result)
            if not isinstance(loss, Tensor):
                if not parts:
                    raise PreflightError("loss: the dict that the loss function returned holds no tensor")
                loss = torch.stack([part.reshape(()) for part in parts.values()]).sum()
            return Answer(_scalar(loss), output, parts)
        if isinstance(result, (tuple, list)) and result and isinstance(result[0], Tensor):
            rest = next((item for item in result[1:] if isinstance(item, Mapping)), {})
            return Answer(_scalar(result[0]), output, self._parts(rest))
        return Answer(_scalar(result), output)

    def _parts(self, found: Mapping[Any, Any]) -> dict[str, Tensor]:
        """Takes the parts that have a gradient, and the same ones where gradients are off."""
        numbers = {str(key): item for key, item in found.items() if isinstance(item, Tensor) and item.numel() == 1}
        self._part_names |= {key for key, item in numbers.items() if item.requires_grad and key != "loss"}
        return {key: item for key, item in numbers.items() if key in self._part_names}


def _scalar(loss: Any, *, alone: bool = False) -> Tensor:
    if not isinstance(loss, Tensor):
        raise PreflightError(f"loss: got {kind(loss)}, expected a tensor with one number")
    if loss.numel() != 1:
        hint = (
            "loss_fn is None, so the model must return its loss; pass loss_fn=function(output, targets)"
            if alone
            else 'average it: reduction="mean", or .mean()'
        )
        raise PreflightError(f"loss: got a tensor of shape {shape(loss)}, expected one number; {hint}")
    return loss.reshape(())
