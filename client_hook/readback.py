"""Brings small result tensors to the outbox without making the device wait: copied now, read a step later.

Not for: deciding what to measure, or for large tensors.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from client_hook.capture.base import Sink


class Readback:
    """Queues (step, names, tensor); `flush` hands over what has arrived.

    A tensor on the CPU is read at the next flush. One on CUDA is copied to pinned memory without blocking, and read when
    the event after the copy has passed; `flush(wait=True)` is for the end of a run.
    """

    def __init__(self, outbox: Sink) -> None:
        self._outbox = outbox
        self._waiting: deque[tuple[int, int, tuple[str, ...], Tensor, torch.cuda.Event | None]] = deque()

    def put(self, step: int, time_ms: int, names: tuple[str, ...], tensor: Tensor) -> None:
        """Takes a vector of len(names) values that belongs to `step`; `time_ms` 0 means the time of putting."""
        tensor = tensor.detach()
        event: torch.cuda.Event | None = None
        if tensor.is_cuda:
            host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            host.copy_(tensor, non_blocking=True)
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(tensor.device))
            tensor = host
        self._waiting.append((step, time_ms, names, tensor, event))

    def flush(self, wait: bool = False) -> int | None:
        """Hands over what has arrived, in order; returns the step of the oldest value still on its way, None if none."""
        while self._waiting:
            step, time_ms, names, tensor, event = self._waiting[0]
            if event is not None:
                if wait:
                    event.synchronize()
                elif not event.query():
                    return step
            self._waiting.popleft()
            self._outbox.row(step, time_ms, names, tensor.tolist(), False)
        return None
