"""Looks at what the model is fed: scale, single large columns, values that are not finite; the fact `inputs`.

Training and validation apart. Not for: targets (loss_call) or the loader (data).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from client_hook.capture.base import Context, Signal
from client_hook.capture.entrances import Entrances
from client_hook.capture.later import Later
from client_hook.capture.tensors import rows, sample
from client_hook.capture.watched_calls import WatchedCalls, first_floats, first_integers, is_computed

BATCHES = 20  # measured in full; then sampled steps are looked at for values that are not finite
SAMPLE = 16_384
MAX_FEATURES = 4_096
LISTED = 8
SEND_AT = (3, 10, BATCHES)


class _Side:
    """Adds up what one side, training or validation, of one model was fed."""

    def __init__(self) -> None:
        self.batches = 0
        self.shape: list[int] = []
        self.dtype = ""
        self.computed = False  # an input came with a graph: another part of the program made it, and it is no data
        self.sums = [0.0, 0.0, 0.0, 0.0, 0.0]  # count, not zero, sum, squares, largest
        self.features: list[Tensor] = []  # sums and squares of each column, where inputs are tables
        self.rows = 0

    def add(self, measures: list[float], columns: Tensor | None, rows: int) -> None:
        self.batches += 1
        count, alive, total, squares, largest = measures
        self.sums = [
            self.sums[0] + count, self.sums[1] + alive, self.sums[2] + total, self.sums[3] + squares,
            max(self.sums[4], largest),
        ]  # fmt: skip
        if columns is not None and (not self.features or self.features[0].shape == columns.shape):
            self.features = [columns if not self.features else self.features[0] + columns]
            self.rows += rows

    def fact(self) -> dict[str, Any]:
        count, alive, total, squares, largest = self.sums
        mean = total / count if count else None
        return {
            "batches": self.batches,
            "shape": self.shape,
            "dtype": self.dtype,
            "computed": self.computed,
            "rms": (squares / alive) ** 0.5 if alive else 0.0 if count else None,
            "mean": mean,
            "std": max(squares / count - (mean or 0.0) ** 2, 0.0) ** 0.5 if count else None,
            "absmax": largest if count else None,
            "zeros": 1 - alive / count if count else None,
            **self._columns(),
        }

    def _columns(self) -> dict[str, Any]:
        if not self.features or self.rows < 2:
            return {"features": None, "median_rms": None}
        sums, squares = self.features[0].double()
        rms = (squares / self.rows).clamp(min=0).sqrt()
        spread = (squares / self.rows - (sums / self.rows) ** 2).clamp(min=0).sqrt()
        moving = torch.nonzero(spread > 1e-6 * rms.clamp(min=1e-30)).flatten()
        if not len(moving):
            return {"features": [], "median_rms": None}
        order = moving[torch.argsort(rms[moving], descending=True)][:LISTED]
        listed = [
            {"index": int(at), "rms": float(rms[at]), "mean": float(sums[at]) / self.rows, "std": float(spread[at])}
            for at in order
        ]
        return {"features": listed, "median_rms": float(rms[moving].median())}


class InputsSignal(Signal):
    """Measures the first floating-point input of each watched model, in the first batches."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._calls, self._parts = WatchedCalls(context, self._see_model), WatchedCalls(context, self._see)
        self._replaced: set[str] = set()  # models that are not called themselves: a part of them is looked at
        self._entrances: Entrances | None = None  # until it is known where data enter
        self._later = Later()
        self._sides: dict[tuple[str, bool], _Side] = {}
        self._nonfinite: dict[str, dict[str, Any]] = {}
        self._pending = False
        self._sent = 0

    def attach(self) -> None:
        """Hooks the models."""
        self._calls.watch(self.context.models.items())
        self._calls.join()
        self._entrances = Entrances(self.context, self.context.models)

    def detach(self) -> None:
        """Takes every hook off."""
        self._calls.leave()
        self._parts.leave()
        if self._entrances is not None:
            self._entrances.leave()
        self._later.clear()

    def arm(self, sampled: bool) -> None:
        """Passes on whether the step is measured."""
        self._calls.arm(sampled)
        self._parts.arm(sampled)
        if self._entrances is not None:
            self._entrances.arm(sampled)

    def _see_model(self, key: str, *call: Any) -> None:
        if key not in self._replaced:
            self._see(key, *call)

    @torch.no_grad()
    def _see(self, key: str, module: nn.Module, inputs: Any, output: Any, with_graph: bool) -> None:
        side = self._sides.setdefault((key, with_graph), _Side())
        tensor = first_floats(inputs)
        if tensor is None:
            whole = first_integers(inputs)
            if whole is not None and side.batches == 0:
                side.batches, side.shape, side.dtype = 1, list(whole.shape), str(whole.dtype).removeprefix("torch.")
                self._pending = True
            return
        step = self.context.open_step
        # halves would overflow in their own precision; doubles refuse to be narrowed before they are summed
        precision = torch.float64 if tensor.dtype is torch.float64 else torch.float32
        norm = torch.linalg.vector_norm(tensor, dtype=precision).float()
        if side.batches >= BATCHES:
            if with_graph:
                self._later.put([norm], lambda copies: self._judge(key, step, float(copies[0])))
            return
        side.shape, side.dtype = list(tensor.shape), str(tensor.dtype).removeprefix("torch.")
        side.computed = side.computed or is_computed(inputs)
        values = sample(tensor, SAMPLE)
        finite = torch.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        measures = torch.stack(
            [values.new_full((), len(values)), (finite != 0).sum().float(), finite.sum(),
             torch.dot(finite, finite), finite.abs().amax(), norm]
        )  # fmt: skip
        wanted = [measures]
        table = tensor.ndim == 2 and 2 <= tensor.shape[1] <= MAX_FEATURES
        if table:
            some = rows(tensor, max(SAMPLE * 4 // tensor.shape[1], 8)).float()
            wanted.append(torch.stack([some.sum(0), (some * some).sum(0)]))
        count = len(some) if table else 0
        self._later.put(wanted, lambda copies: self._take(key, with_graph, step, copies, count))

    def _take(self, key: str, with_graph: bool, step: int, copies: list[Tensor], rows: int) -> None:
        *measures, norm = copies[0].tolist()
        side = self._sides.get((key, with_graph))
        if side is None:  # of a model, before a part of it took its place
            return
        self._pending = self._pending or not (with_graph or side.batches)  # the first of a validation is told at once
        side.add(measures, copies[1] if len(copies) > 1 else None, rows)
        self._judge(key, step, norm)

    def _judge(self, key: str, step: int, norm: float) -> None:
        """Notes inputs that are not finite; an overflow of the squares of very large numbers counts as well."""
        if norm != norm or norm == float("inf"):
            known = self._nonfinite.setdefault(key, {"batches": 0, "first_step": step})
            known["batches"] += 1
            self._pending = True

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Sends the fact after some batches, and when something is wrong with one."""
        if self._entrances is not None and sampled:
            parts = self._entrances.after_step({key for key, learning in self._sides if learning})
            if parts is not None:
                self._entrances = None
                self._replaced = {key for key, _ in parts}
                self._sides = {side: what for side, what in self._sides.items() if side[0] not in self._replaced}
                self._parts.watch(parts)
                self._parts.join()
        self._later.poll()
        seen = sum(side.batches for side in self._sides.values())
        if self._pending or any(self._sent < mark <= seen for mark in SEND_AT) or seen > self._sent + BATCHES:
            self._send(step, seen)

    def on_finish(self) -> None:
        """Sends what is known at the end."""
        self._later.poll(wait=True)
        seen = sum(side.batches for side in self._sides.values())
        if seen != self._sent or self._pending:
            self._send(self.context.step, seen)

    def _send(self, step: int, seen: int) -> None:
        self._sent, self._pending = seen, False
        keys = list(dict.fromkeys(key for key, _ in self._sides))
        fact = {
            key or "model": {
                **(self._sides[key, True].fact() if (key, True) in self._sides else {"batches": 0}),
                "nonfinite": self._nonfinite.get(key),
                "validation": self._sides[key, False].fact() if (key, False) in self._sides else None,
            }
            for key in keys
        }
        self.context.outbox.record("fact", "inputs", step, fact)
