"""Sends the gradient norm that clipping saw and the factor it applied, at every step that clips, and the fact
`clipping`.

Not for: whether clipping comes at the right place in the loop (loop_order).
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from client_hook.capture import tensors
from client_hook.capture.base import Context, Signal
from client_hook.capture.owned import Owned
from client_hook.guard import quietly
from client_hook.plain_rows import Parts

_NAMES = ("clip/before", "clip/coefficient")
_LABEL = (_NAMES, False)
_SEND_AT = frozenset({0, 3, 20, 100})
_EPSILON = 1e-6  # torch divides by the norm plus this


class ClippingSignal(Signal):
    """Takes the norm that `clip_grad_norm_` computes anyway. For `clip_grad_value_` it takes norms of its own, on
    sampled steps.

    Several calls in one step (one for each optimizer) count as one: the root of the summed squares, and the
    smallest factor.
    """

    every_step = True
    may_rest = True
    at_gradients = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._owned = Owned(context)
        self._norms: list[tuple[Any, float]] = []  # (norm before, limit) of this step's calls
        self._cut = False  # by value, in a step in which nobody measured how much: then the factor is not known
        self._value_clipped: list[tuple[Tensor, list[weakref.ref[Tensor]]]] = []
        self._factors: list[Tensor] = []
        self._on_their_way: deque[tuple[int, float]] = deque()  # time and limit of norms that come from a device
        self._kind: str | None = None
        self._limit: float | None = None
        self._norm_type: Any = None
        self._parameters = 0
        self._covers: float | None = None
        self._calls = self._clipped = self._empty = self._nonfinite = self._scaled = 0
        self._clipped_known = True
        self._sent_faults = (0, 0, 0)

    def attach(self) -> None:
        """Listens for clipping."""
        if self.context.options.scaler is not None:
            self._owned.scale(self.context.options.scaler)
        self.context.patches.subscribe(self)

    def detach(self) -> None:
        """Listens no more."""
        self._norms, self._value_clipped, self._factors = [], [], []

    def scale(self, scaler: Any) -> None:
        """Hears that a gradient scaler scales a loss."""
        self._owned.scale(scaler)

    def clip(self, kind: str, parameters: Sequence[Tensor], limit: Any, norm: Tensor | None, norm_type: Any) -> None:
        """Hears that gradients are about to be clipped."""
        several = self.context.several or self.context.patches.owners > 1
        key = self._owned.key_of_tensors(parameters) if several else next(iter(self.context.optimizers), "0")
        if key is not None:
            self._take(kind, parameters, limit, norm, norm_type, key)

    def _take(
        self, kind: str, parameters: Sequence[Tensor], limit: Any, norm: Tensor | None, norm_type: Any, key: str
    ) -> None:
        self._calls += 1
        self._cut |= kind == "value" and not self.context.sampled
        self._kind, self._norm_type = kind, norm_type
        self._limit = quietly(float, limit)
        self._scaled += self._owned.still_scaled(key)
        if self._calls <= 3 or self.context.sampled:
            self._look_at(kind, parameters)
        if isinstance(norm, Tensor) and norm.is_meta:
            return  # it has no value
        sharded = hasattr(norm, "to_local")  # reading its value would be a collective: the shard is measured instead
        if kind == "norm" and norm is not None and self._limit is not None and not sharded:
            # the loop may change it in place; from a device it is read when the step closes, so that nobody waits
            known = norm if not isinstance(norm, Tensor) else norm.item() if norm.is_cpu else norm.detach()
            self._norms.append((known, self._limit))
        elif self.context.sampled and (sharded or kind == "value"):
            gradients = [item.grad for item in parameters if item.grad is not None] if sharded else parameters
            dense = [tensors.local(item) for item in gradients if item.layout is torch.strided and not item.is_meta]
            if dense:
                before = torch.linalg.vector_norm(tensors.norms(dense))
                self._value_clipped.append((before, [weakref.ref(item) for item in gradients]))

    def _look_at(self, kind: str, parameters: Sequence[Tensor]) -> None:
        with_gradient = [item for item in parameters if kind == "value" or item.grad is not None]
        self._parameters = len(with_gradient)
        self._empty += not with_gradient
        if self._covers is None and with_gradient:
            watched = sum(item.grad is not None for _, item in self.context.parameters() if item.requires_grad)
            self._covers = min(len(with_gradient) / watched, 1.0) if watched else None

    def on_pre_step(self, key: str, optimizer: Optimizer) -> None:
        """Takes the norms that value clipping left."""
        for before, references in self._value_clipped:
            after = [tensors.local(item) for reference in references if (item := reference()) is not None]
            if len(after) == len(references):
                self._factors.append(torch.linalg.vector_norm(tensors.norms(after)) / before)
                self._norms.append((before, float("nan")))
        self._value_clipped = []

    def plain_clip(self, kind: str, parameters: Sequence[Tensor], limit: Any, norm: Any, norm_type: Any) -> None:
        """Reads the norm where that makes nobody wait; the rest, and what is out of the ordinary, goes the long way."""
        # with a scaler each call is looked at: its gradients may still be scaled
        alone = self._owned.scaler is None and self.context.patches.owners <= 1 and not self.context.several
        if not alone or kind != "norm" or type(norm) is not Tensor or not norm.is_cpu or kind != self._kind:
            began = perf_counter()
            self.clip(kind, parameters, limit, norm, norm_type)
            self.context.spent_s += perf_counter() - began
            if self._calls == 1:
                self.context.wake()
            return
        value = norm.item()
        self._calls += 1
        self._limit = limit = float(limit)
        self._norms.append((value, limit))
        if value - value != 0.0 and self.context.on_bad_norm is not None:
            self.context.on_bad_norm()

    @property
    def plain_silent(self) -> bool:
        """Says that nothing was ever clipped."""
        return not self._calls

    def plain_close(self, step: int, parts: Parts) -> None:
        """Adds norm and factor."""
        norms = self._norms
        if len(norms) == 1 and type(norm := norms[0][0]) is float and not (self._factors or self._cut):
            factor = norms[0][1] / (norm + _EPSILON)
            if factor >= 1.0:
                factor = 1.0
            else:
                self._clipped += factor < 1.0
                self._nonfinite += norm - norm != 0.0
            parts += (_LABEL, (norm, factor))
            norms.clear()
        elif norms:
            self.on_close(step, self.context.now_ms(), False)

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Hands over norm and factor."""
        taken, self._norms = self._norms, []
        factors, self._factors = self._factors, []
        cut, self._cut = self._cut, False
        if taken:
            self._send_row(step, time_ms, taken, factors, cut)
        if self._calls:
            faults = (min(self._empty, 1), min(self._nonfinite, 1), min(self._scaled, 1))
            if step in _SEND_AT or faults != self._sent_faults or self._calls == 1:
                self._sent_faults = faults
                self._send_fact(step)

    def _send_row(
        self, step: int, time_ms: int, taken: list[tuple[Any, float]], factors: list[Tensor], cut: bool
    ) -> None:
        if len(taken) == 1 and not factors and isinstance(norm := taken[0][0], Tensor) and norm.is_cuda:
            self.context.readback.put_scalar(step, time_ms, _NAMES, norm, self._heard, send=False)
            self._on_their_way.append((time_ms, float("nan") if cut else taken[0][1]))
            return
        if all(not isinstance(norm, Tensor) or norm.is_cpu for norm, _ in taken):
            pairs = [(float(norm), limit) for norm, limit in taken]
            limited = [pair for pair in pairs if pair[1] == pair[1]]  # what is then cut by value is the same gradient
            values = [value for value, _ in limited or pairs]
            norm = values[0] if len(values) == 1 else sum(value * value for value in values) ** 0.5
            known = [] if cut else [_factor(value, limit) for value, limit in limited] + [float(f) for f in factors]
            self._clipped += bool(known) and min(known) < 1.0
            self._nonfinite += norm - norm != 0.0
            row = (norm, min(known)) if known else (norm,)
            self.context.outbox.row(step, time_ms, _NAMES[: len(row)], row, False)
            return
        self._clipped_known = False
        vector = _stacked([norm for norm, _ in taken])
        limits = [limit for _, limit in taken]
        if factors:
            factor_now = torch.stack(factors).amin()
        else:
            wanted = (
                limits[0]
                if len(limits) == 1
                else torch.tensor(limits, device="cpu").to(vector.device, non_blocking=True)
            )
            factor_now = (wanted / (vector + _EPSILON)).clamp(max=1.0).amin()
        total = vector[0] if len(taken) == 1 else torch.linalg.vector_norm(vector)
        self.context.readback.put(step, time_ms, _NAMES, torch.stack([total, factor_now]))

    def _heard(self, step: int, values: list[float]) -> None:
        """Takes a norm that came from a device."""
        norm = values[0]
        time_ms, limit = self._on_their_way.popleft()
        row = (norm, factor := _factor(norm, limit)) if limit == limit else (norm,)
        self._clipped += len(row) > 1 and factor < 1.0
        if norm - norm != 0.0:
            self._nonfinite += 1
            # a scaler finds its scale by overflows
            if self._owned.scaler is None and self.context.on_bad_norm is not None:
                self.context.on_bad_norm(step)
        self.context.outbox.row(step, time_ms, _NAMES[: len(row)], row, False)

    def on_finish(self) -> None:
        """Sends the counts of the whole run."""
        if self._calls:
            self._send_fact(self.context.step)

    def _send_fact(self, step: int) -> None:
        known = self._clipped_known
        self.context.outbox.record(
            "fact",
            "clipping",
            step,
            {
                "kind": self._kind,
                "limit": self._limit,
                "norm_type": None if self._norm_type is None else quietly(float, self._norm_type),
                "calls": self._calls,
                "clipped": self._clipped if known and self._kind == "norm" else None,
                "parameters": self._parameters,
                "empty": self._empty,
                "nonfinite": self._nonfinite if known else None,
                "scaled": self._scaled,
                "covers": self._covers,
            },
        )


def _factor(norm: float, limit: float) -> float:
    """Computes the factor as torch does; NaN stays NaN."""
    factor = limit / (norm + _EPSILON)
    return 1.0 if factor > 1.0 else factor


def _stacked(norms: list[Any]) -> Tensor:
    """Puts norms, of which at least one is on a device, into one vector there."""
    device = tensors.meeting_place(norm for norm in norms if isinstance(norm, Tensor))
    return torch.stack(
        [
            norm.to(device, torch.float32, non_blocking=True)
            if isinstance(norm, Tensor)
            else torch.full((), norm, device=device)
            for norm in norms
        ]
    )
