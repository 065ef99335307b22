"""Takes the loss of a step from the calls of backward, for frameworks that tell it late, averaged or not at all.

The losses of micro-batches are divided by their number before backward, so their sum is the loss of the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from client_hook.monitor import Monitor
from client_hook.patches import patches


class BackwardLoss:
    """Listens from `start` to `stop`, or to the end of the monitor; holds detached scalars, and reads none of them."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._scaler: Any = None
        self._monitor: Monitor | None = None
        self._first = self._heard = False

    def start(self, monitor: Monitor, *, first: bool = False) -> None:
        """Begins to listen, to the `first` backward alone before each `take` where others are mere looks around."""
        self._monitor, self._first = monitor, first
        patches.subscribe(self)

    def stop(self) -> None:
        """Listens no more."""
        patches.unsubscribe(self)

    def scale(self, scaler: Any) -> None:
        """Hears that the next backward is of a scaled loss."""
        self._scaler = scaler

    def backward(self, root: Tensor) -> None:
        """Adds the root of one backward."""
        if self._monitor is None or self._monitor.ended:  # some frameworks tell nobody that an exception left the loop
            self.stop()
            return
        if self._first and self._sum is not None:
            return
        loss = root.detach()
        scaler, self._scaler = self._scaler, None
        factor = getattr(scaler, "_scale", None)
        if isinstance(factor, Tensor):
            loss = loss / factor.to(loss.device, non_blocking=True)
        self._sum, self._heard = loss.clone() if self._sum is None else self._sum + loss, True

    def take(self, scale: Any = None) -> Tensor | None:
        """Gives the sum since the last call, without a scale that the framework put on the losses."""
        total, self._sum = self._sum, None
        if total is not None and scale is not None:
            total = total / scale
        return total if total is None or total.ndim == 0 else total.float().mean()

    def tell(self, factor: float = 1.0, scale: Any = None) -> None:
        """Tells the loss since the last call; nothing where none came, though one had before, or no step did."""
        loss = self.take(scale)
        if self._monitor is not None and (loss is not None or (self._monitor.stepped and not self._heard)):
            self._monitor.step(loss * factor if loss is not None else None)


def plain_numbers(values: dict[str, Any]) -> dict[str, Any]:
    """Keeps what can be a point of a series."""
    return {
        str(name): value
        for name, value in values.items()
        if (isinstance(value, (int, float)) and not isinstance(value, bool))
        or (isinstance(value, torch.Tensor) and value.numel() == 1)
    }


def as_dict(config: Any) -> dict[str, Any]:
    """Reads a config that is a dict, or has its values in one (argparse's Namespace, a dataclass)."""
    return dict(config) if isinstance(config, Mapping) else dict(getattr(config, "__dict__", {}))
