"""Brings small tensors to the host for facts without making the device wait: asked for now, answered at a later step.

Not for: series, whose values go through `client_hook.readback`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor


class Later:
    """Queues copies; `poll` hands over those that have arrived, in order."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[list[Tensor], Callable[[list[Tensor]], None], list[torch.cuda.Event]]] = deque()

    def put(self, tensors: list[Tensor], then: Callable[[list[Tensor]], None]) -> None:
        """Copies the tensors to the host, and calls `then` with the copies when they are there."""
        copies: list[Tensor] = []
        devices = {tensor.device for tensor in tensors if tensor.is_cuda}
        for tensor in tensors:
            if tensor.is_cuda:
                copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True, device="cpu")
                copy.copy_(tensor, non_blocking=True)
                copies.append(copy)
            else:
                copies.append(tensor.detach().to("cpu", copy=True))
        events = []
        for device in devices:
            events.append(event := torch.cuda.Event())
            event.record(torch.cuda.current_stream(device))
        self._waiting.append((copies, then, events))

    def poll(self, wait: bool = False) -> None:
        """Answers what has arrived."""
        while self._waiting:
            copies, then, events = self._waiting[0]
            for event in events:
                if wait:
                    event.synchronize()
                elif not event.query():
                    return
            self._waiting.popleft()
            then(copies)

    def clear(self) -> None:
        """Forgets what is on its way."""
        self._waiting.clear()
