"""Brings small result tensors to the outbox without making the device wait: copied now, read a step later.

Not for: deciding what to measure, or for large tensors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from client_hook.capture.base import Sink

Then = Callable[[int, list[float]], None]
MAX_WAITING = 10_000


class _Item(NamedTuple):
    step: int
    time_ms: int
    names: tuple[str, ...]
    tensor: Tensor
    event: torch.cuda.Event | None
    then: Then | None


class Readback:
    """Queues (step, names, tensor); `flush` hands over what has arrived.

    A tensor on the CPU is read at the next flush. One on CUDA is copied to pinned memory without blocking, and read
    when the event after the copy has passed; `flush(wait=True)` is for the end of a run.
    """

    def __init__(self, outbox: Sink) -> None:
        self._outbox = outbox
        self.waiting: deque[_Item] = deque()

    def put(self, step: int, time_ms: int, names: tuple[str, ...], tensor: Tensor, then: Then | None = None) -> None:
        """Takes a vector of len(names) values of `step`; `then(step, values)` is called when they are read."""
        tensor = tensor.detach()
        event: torch.cuda.Event | None = None
        if tensor.is_cuda:
            host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            host.copy_(tensor, non_blocking=True)
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(tensor.device))
            tensor = host
        self.waiting.append(_Item(step, time_ms, names, tensor, event, then))

    def flush(self, wait: bool = False) -> int | None:
        """Hands over what has arrived, in order; returns the step of the oldest value still on its way."""
        waiting = self.waiting
        while waiting:
            item = waiting[0]
            if item.event is not None:
                if wait or len(waiting) > MAX_WAITING:
                    item.event.synchronize()
                elif not item.event.query():
                    return item.step
            waiting.popleft()
            values: list[float] = item.tensor.tolist()
            if item.names:
                self._outbox.row(item.step, item.time_ms, item.names, values, False)
            if item.then is not None:
                item.then(item.step, values)
        return None
