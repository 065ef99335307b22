"""Looks at what the model answers: how much answers differ within a batch, which class they name; the fact `outputs`.

Training and validation apart. Not for: what reaches the loss function (loss_call).
"""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor, nn

from client_hook.capture import tensors
from client_hook.capture.base import Context, Signal
from client_hook.capture.forward_hooks import first_tensor
from client_hook.capture.later import Later
from client_hook.capture.watched_calls import WatchedCalls, first_integers, is_due

ROWS = 256
POSITIONS = 16
KEPT = 20  # newest samples
TABLES = 8  # embeddings that are watched, and texts that they read for one answer
HISTORY = 64  # samples of log Z over the whole run


class _Side:
    """Keeps the newest samples of one side of one model."""

    def __init__(self) -> None:
        self.samples = 0
        self.shape: list[int] = []
        self.recent: dict[str, deque[float]] = {
            name: deque(maxlen=KEPT) for name in ("batch_std", "all_std", "top_share", "copies")
        }
        self.log_z: list[tuple[int, float]] = []
        self.stride = 1

    def add(self, step: int, values: dict[str, float]) -> None:
        self.samples += 1
        for name, known in self.recent.items():
            if name in values:
                known.append(values[name])
        if "log_z" in values and self.samples % self.stride == 0:
            self.log_z.append((step, values["log_z"]))
            if len(self.log_z) > HISTORY:
                self.log_z, self.stride = self.log_z[::2], 2 * self.stride

    def fact(self) -> dict[str, Any]:
        return {
            "samples": self.samples,
            "shape": self.shape,
            **{name: [_json(value) for value in known] for name, known in self.recent.items()},
            "log_z": [[step, _json(value)] for step, value in self.log_z],
        }


class OutputsSignal(Signal):
    """Copies a few numbers of each watched model's output to the host."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._calls = WatchedCalls(context, self._see)
        self._embeddings = WatchedCalls(context, self._read)
        self._tokens: list[Tensor] = []  # that embeddings read since the last answer of a model
        self._later = Later()
        self._sides: dict[tuple[str, bool], _Side] = {}
        self._sent = 0

    def attach(self) -> None:
        """Hooks the models."""
        self._calls.watch(self.context.models.items())
        self._calls.join()
        tables = [(name, item) for name, item in self.context.modules() if isinstance(item, nn.Embedding)]
        self._embeddings.watch(tables[:TABLES])
        self._embeddings.join()

    def detach(self) -> None:
        """Takes every hook off."""
        self._calls.leave()
        self._embeddings.leave()
        self._tokens.clear()
        self._later.clear()

    def arm(self, sampled: bool) -> None:
        """Passes on whether the step is measured."""
        self._calls.arm(sampled)
        self._embeddings.arm(sampled)

    def _read(self, name: str, module: nn.Module, inputs: Any, output: Any, with_graph: bool) -> None:
        tokens = first_integers(inputs)
        if tokens is not None and tokens.ndim == 2:
            self._tokens = [*self._tokens[1 - TABLES :], tokens]

    @torch.no_grad()
    def _see(self, key: str, module: nn.Module, inputs: Any, output: Any, with_graph: bool) -> None:
        first, tensor = first_integers(inputs), first_tensor(output)
        read, self._tokens = [*([] if first is None else [first]), *self._tokens], []
        if tensor is None or tensor.ndim < 2 or tensor.shape[0] < 2:
            return
        side = self._sides.setdefault((key, with_graph), _Side())
        side.shape = list(tensor.shape)
        step = self.context.open_step
        names, measures = _measures(tensor, read)
        self._later.put([measures], lambda copies: side.add(step, dict(zip(names, copies[0].tolist(), strict=True))))

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Sends the fact now and then."""
        self._later.poll()
        self._tokens.clear()
        seen = sum(side.samples for side in self._sides.values())
        if is_due(self._sent, seen):
            self._send(step, seen)

    def on_finish(self) -> None:
        """Sends what is known at the end."""
        self._later.poll(wait=True)
        if self._sides:
            self._send(self.context.step, 0)

    def _send(self, step: int, seen: int) -> None:
        self._sent = seen
        fact = {
            key or "model": {
                **(self._sides[key, True].fact() if (key, True) in self._sides else {"samples": 0}),
                "validation": self._sides[key, False].fact() if (key, False) in self._sides else None,
            }
            for key in dict.fromkeys(key for key, _ in self._sides)
        }
        self.context.outbox.record("fact", "outputs", step, fact)


def _measures(tensor: Tensor, read: list[Tensor]) -> tuple[list[str], Tensor]:
    """Measures the spread over the batch and over everything, and what concerns classes where there are any."""
    names = ["batch_std", "all_std"]
    rows = tensors.rows(tensor, ROWS).float()
    if rows.ndim > 2 and rows[0].numel() > 4096:
        places = (slice(None, None, -(-size // POSITIONS)) for size in rows.shape[2:])
        rows = rows[(slice(None), slice(None), *places)]
    flat = rows.flatten(1)
    values = [flat.std(0, correction=0).mean(), flat.std(correction=0)]
    if rows.ndim == 2 and rows.shape[1] >= 2:
        top = rows.argmax(1)
        alike = (top.unsqueeze(1) == top).sum(1).amax()  # torch.bincount would wait for the device
        values += [alike.float() / len(top), rows.logsumexp(1).mean()]
        names += ["top_share", "log_z"]
    copies = [share for tokens in read if (share := _copied(tensor, tokens)) is not None]
    if copies:
        values.append(torch.stack(copies).amax())
        names.append("copies")
    return names, torch.stack([value.to(torch.float32) for value in values])


def _copied(tensor: Tensor, tokens: Tensor) -> Tensor | None:
    """Measures in which share of the places the most likely answer is the token that was read there; None where the
    answers are none for each place."""
    if tensor.ndim != 3 or tokens.shape != (tensor.shape[0], tokens.shape[-1]):
        return None
    length = tokens.shape[1]
    last = 2 if tensor.shape[1] == length and tensor.shape[2] != length else 1 if tensor.shape[2] == length else 0
    if not last:
        return None
    read = tokens[:8]
    same = (tensor[:8].argmax(last) == read).float()
    filled = (read != read[:, -1].mode().values).float()  # what rows are filled up with is nothing to copy
    return torch.maximum(same.mean(), (same * filled).sum() / filled.sum().clamp(min=1.0))


def _json(value: float) -> float | None:
    return value if value == value and abs(value) != float("inf") else None
