"""Brings small result tensors to the outbox without making the device wait: copied now, read a step later.

Not for: deciding what to measure, or for large tensors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from client_hook.guard import attempted

if TYPE_CHECKING:
    from client_hook.outbox import Outbox

Then = Callable[[int, list[float]], None]
MAX_WAITING = 10_000
GROUP = 16  # scalars of as many steps share a piece of pinned memory and an event …
GROUP_MS = 200  # … but none waits longer than this for the others
STOPPED = 3  # steps without a value: no more of its kind is waited for
# what a slot holds before its value arrives: a NaN that no computation gives
_EMPTY = 0x7FEDCBA9


class _Item(NamedTuple):
    """Is one vector of a step, or one scalar of each of several steps."""

    steps: list[int]
    times_ms: list[int]
    names: tuple[str, ...]
    tensor: Tensor
    event: torch.cuda.Event | None
    then: Then | None
    scalars: Group | None = None


class Group:
    """Gathers scalars of one name in pinned memory, one for each step."""

    def __init__(self) -> None:
        self.host = torch.empty(GROUP, dtype=torch.float32, pin_memory=True, device="cpu")
        self.slots = self.host.unbind()

    def begin(self, device: torch.device, names: tuple[str, ...], then: Then | None) -> Group:
        """Makes it empty, whatever it held."""
        self.host.view(torch.int32).fill_(_EMPTY)
        self.device, self.index = device, device.index
        self.names = names
        self.then = then
        self.steps: list[int] = []
        self.times_ms: list[int] = []
        return self

    def add(self, step: int, time_ms: int, value: Tensor) -> None:
        """Copies a value to its slot, without waiting for it."""
        self.slots[len(self.steps)].copy_(value.detach(), non_blocking=True)
        self.steps.append(step)
        self.times_ms.append(time_ms)

    def has_room(self, time_ms: int, device: int) -> bool:
        """Says whether a value of this device may come now that does not complete the group."""
        return len(self.steps) < GROUP - 1 and time_ms - self.times_ms[0] < GROUP_MS and device == self.index

    def item(self, event: torch.cuda.Event | None) -> _Item:
        """Makes what is queued when no more comes."""
        return _Item(self.steps, self.times_ms, self.names, self.host, event, self.then, self)


class Readback:
    """Queues (step, names, tensor); `flush` hands over what has arrived.

    A tensor on the CPU is read at the next flush. One on CUDA is copied to pinned memory without blocking, and read
    when the event after the copy has passed; `flush(wait=True)` is for the end of a run.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.waiting: deque[_Item] = deque()
        self.groups: dict[tuple[str, ...], Group] = {}
        self._free: list[Group] = []
        self._newest: dict[tuple[str, ...], int] = {}  # label → time of the last value that was gathered
        self.failed: Exception | None = None  # what the device said when it answered no more

    def put(self, step: int, time_ms: int, names: tuple[str, ...], tensor: Tensor, then: Then | None = None) -> None:
        """Takes a vector of len(names) values of `step`; `then(step, values)` is called when they are read."""
        if self.failed is not None and tensor.is_cuda:
            return
        tensor = tensor.detach()
        event: torch.cuda.Event | None = None
        if tensor.is_cuda:
            host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True, device="cpu")
            host.copy_(tensor, non_blocking=True)
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(tensor.device))
            tensor = host
        self.waiting.append(_Item([step], [time_ms], names, tensor, event, then))

    def put_scalar(
        self,
        step: int,
        time_ms: int,
        label: tuple[str, ...],
        value: Tensor,
        then: Then | None = None,
        *,
        send: bool = True,
    ) -> None:
        """Takes one value of `step`; without `send` it is for `then` alone, and `label` says what belongs together.

        For what comes at every step: the copy of a scalar is all that it costs, the rest is done once for several.
        """
        names = label if send else ()
        if not value.is_cuda:
            self.put(step, time_ms, names, value.clone().reshape(1), then)
            return
        if self.failed is not None:
            return
        group = self.groups.get(label)
        slow = group is None and time_ms - self._newest.get(label, 0) >= GROUP_MS
        if group is not None and group.device != value.device:
            self._close(label)
            group = None
        if group is None:
            group = self._free.pop() if self._free else Group()
            self.groups[label] = group.begin(value.device, names, then)
        group.add(step, time_ms, value)
        if slow or len(group.steps) == GROUP or time_ms - group.times_ms[0] >= GROUP_MS:
            self._close(label)

    def _close(self, label: tuple[str, ...]) -> None:
        group = self.groups[label]
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(group.device))
        self._newest[label] = group.times_ms[-1]
        del self.groups[label]  # not before: where the device has failed, its values are rescued
        self.waiting.append(group.item(event))

    def flush(self, wait: bool = False, *, step: int | None = None) -> int | None:
        """Hands over what has arrived, in order; returns the step of the oldest value still on its way.

        `step` is the one that closes now: what has stopped coming waits for no more of its kind. Raises nothing of the
        device's: when it fails, what had reached the host is handed over, and `failed` says why.
        """
        waiting = self.waiting
        for label, group in list(self.groups.items()):
            if wait or (step is not None and step - group.steps[-1] >= STOPPED):
                _, error = attempted(self._close, label)
                if error is not None:
                    self._fail(error)
                    return None
        while waiting:
            item = waiting[0]
            if item.event is not None:
                at_once = wait or len(waiting) > MAX_WAITING
                passed, error = attempted(item.event.synchronize if at_once else item.event.query)
                if error is not None:
                    self._fail(error)
                    return None
                if not at_once and not passed:
                    break
            waiting.popleft()
            self._hand_over(item)
        on_their_way = [item.steps[0] for item in waiting]
        on_their_way += [group.steps[0] for group in self.groups.values()]
        return min(on_their_way, default=None)

    def _hand_over(self, item: _Item) -> None:
        values: list[float] = item.tensor.tolist()
        if item.scalars is None:
            self._tell(item, 0, values)
            return
        for index in range(len(item.steps)):
            self._tell(item, index, values[index : index + 1])
        self._free.append(item.scalars)

    def _tell(self, item: _Item, index: int, values: list[float]) -> None:
        if item.names:
            self._outbox.row(item.steps[index], item.times_ms[index], item.names, values, False)
        if item.then is not None:
            item.then(item.steps[index], values)

    def _fail(self, error: Exception) -> None:
        """Hands over what reached the host before the device failed: after an error CUDA answers nothing any more.

        A scalar whose slot is still empty has not come. Of a vector nobody can tell, so vectors are given up.
        """
        self.failed = error
        items = [*self.waiting, *(group.item(None) for group in self.groups.values())]
        self.waiting.clear()
        self.groups.clear()
        for item in items:
            if item.scalars is None:
                if item.event is None:  # it never left the host
                    self._hand_over(item)
                continue
            values: list[float] = item.tensor.tolist()
            arrived: list[bool] = (item.tensor.view(torch.int32) != _EMPTY).tolist()
            for index in range(len(item.steps)):
                if arrived[index]:
                    self._tell(item, index, values[index : index + 1])
