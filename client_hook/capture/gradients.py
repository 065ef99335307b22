"""Measures the gradient norm of every parameter and of all together, just before the optimizer uses the gradients.

Not for: clipping (clipping), or parameters that no optimizer holds (graph).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from client_hook.capture import tensors
from client_hook.capture.base import Context, Signal, held_by

FACT_AFTER = (3, 10, 200)  # optimizer steps
TINY = 1e-18  # a norm below it has squares that a float32 rounds or loses


class GradientSignal(Signal):
    """Norms on sampled steps; where one is not finite, also how many elements are not."""

    at_gradients = True
    in_replay = "gradients"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._host: dict[str, float] = {}  # name → norm, of tensors on the CPU
        self._device: list[tuple[list[str], Tensor]] = []
        self._skipped: Tensor | None = None
        self._counts: dict[str, int] = {}
        self._count_on_device = False
        self._facts = list(FACT_AFTER)
        self._samples = 0
        self._arrived: set[str] = set()  # names that had a gradient in some sampled step
        self._nonzero: set[str] = set()  # and one that was not exactly 0
        self._missing: set[str] = set()

    def on_pre_step(self, key: str, optimizer: Optimizer) -> None:
        """Takes the norms of this optimizer's gradients."""
        found_inf = getattr(optimizer, "found_inf", None)
        skipped = found_inf if isinstance(found_inf, Tensor) else None
        if skipped is not None and skipped.is_cpu and bool(skipped):
            return  # a fused optimizer leaves this step out, as a scaler does with any other optimizer
        names: list[str] = []
        held: list[Tensor] = []
        gradients: list[Tensor] = []
        shares: list[float] = []
        missing: list[str] = []
        name_of = self.context.parameter_name
        for parameter in held_by(optimizer):
            gradient = parameter.grad
            if gradient is None:
                if parameter.requires_grad and (name := name_of(parameter)) is not None:
                    missing.append(name)
            elif not gradient.is_meta and (name := name_of(parameter)) is not None:
                names.append(name)
                held.append(parameter)
                gradients.append(tensors.dense(tensors.local(gradient)))
                shares.append(tensors.share(gradient))
        if len(set(names)) < len(names):  # a layer was put between others, and the old names were known at first
            names = [name_of(parameter) or name for parameter, name in zip(held, names, strict=True)]
        self._note(names, missing)
        if not gradients:
            return
        norms = tensors.norms(gradients)
        if min(shares) < 1.0:
            norms = norms * torch.tensor(shares, device="cpu").to(norms.device, non_blocking=True)
        scale = getattr(optimizer, "grad_scale", None)
        if isinstance(scale, Tensor):  # a fused optimizer unscales inside its step
            norms = norms / scale.to(norms.device)
        if norms.is_cpu:
            self._take(names, gradients, norms.tolist(), 1.0 if scale is None else float(scale))
            return
        if skipped is not None:  # read with the norms, which then are not sent
            self._skipped = skipped.reshape(1).float()
        self._device.append((names, norms))
        if self._count_on_device:
            counts = torch.stack([tensors.nonfinite(gradient).float() for gradient in gradients])
            columns = tuple(f"grad_nonfinite/{name}" for name in names)
            self.context.readback.put(
                self.context.open_step, Context.now_ms(), columns, counts,
                lambda step, read: self._heard_counts(step, names, read),
            )  # fmt: skip

    def _take(self, names: list[str], gradients: list[Tensor], norms: list[float], scale: float) -> None:
        for name, gradient, norm in zip(names, gradients, norms, strict=True):
            if not TINY <= norm < math.inf:
                count = 0 if norm < TINY else int(tensors.nonfinite(gradient))
                if count:
                    self._counts[name] = count
                else:  # only the squares were too large or too small for a float32
                    norm = tensors.exact_norm(gradient) / scale
            self._host[name] = norm

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Hands over one row: the norm of all, then of each."""
        if self._device:
            self._close_device(step, time_ms)
        elif self._host:
            norms, self._host = self._host, {}
            each = list(norms.values())
            self.context.outbox.row(step, time_ms, _columns_of(norms), [math.hypot(*each), *each], False)
            self._note_values(list(norms), each)
        if self._counts:
            counts, self._counts = self._counts, {}
            columns = tuple(f"grad_nonfinite/{name}" for name in counts)
            self.context.outbox.row(step, time_ms, columns, [float(count) for count in counts.values()])
            if self.context.on_break is not None:
                self.context.on_break("nonfinite-gradient", step, names=tuple(counts))
        self._report(step)

    def _close_device(self, step: int, time_ms: int) -> None:
        taken, self._device = self._device, []
        first = taken[0][1].device
        on_device = [vector.to(first, non_blocking=True) for _, vector in taken]
        names = [name for part, _ in taken for name in part]
        if self._host:  # some parameters live on the CPU
            names += list(self._host)
            on_device.append(torch.tensor(list(self._host.values()), device="cpu").to(first, non_blocking=True))
            self._host = {}
        each = torch.cat(on_device)
        if len(set(names)) < len(names):  # an optimizer stepped twice: its last gradients count
            newest = {name: index for index, name in enumerate(names)}
            names, each = (
                list(newest),
                each[torch.tensor(list(newest.values()), device="cpu").to(first, non_blocking=True)],
            )
        total = torch.linalg.vector_norm(each).reshape(1)
        columns = _columns_of(names)
        skipped, self._skipped = self._skipped, None
        if skipped is None:
            vector = torch.cat([total, each])
            self.context.readback.put(step, time_ms, columns, vector, lambda _, read: self._heard(names, read))
            return
        vector = torch.cat([skipped.to(first, non_blocking=True), total, each])
        self.context.readback.put(
            step, time_ms, (), vector, lambda _, read: self._heard_unless_skipped(step, time_ms, names, columns, read)
        )

    def _heard_unless_skipped(
        self, step: int, time_ms: int, names: list[str], columns: tuple[str, ...], values: list[float]
    ) -> None:
        if not values[0]:
            self.context.outbox.row(step, time_ms, columns, values[1:], False)
            self._heard(names, values[1:])

    def _heard(self, names: list[str], values: list[float]) -> None:
        """Runs when norms arrived from a device: what is not finite is counted from the next sampled step on."""
        self._count_on_device = not math.isfinite(values[0])
        self._note_values(names, values[1:])

    def _heard_counts(self, step: int, names: list[str], values: list[float]) -> None:
        self._count_on_device = any(values)
        bad = tuple(name for name, count in zip(names, values, strict=True) if count)
        if bad and self.context.on_break is not None:
            self.context.on_break("nonfinite-gradient", step, names=bad)

    # -- the fact `gradients` ----------------------------------------------------------------------------------------

    def _note(self, names: list[str], missing: list[str]) -> None:
        if self._facts:
            self._samples += 1
            self._arrived.update(names)
            self._missing.update(missing)

    def _note_values(self, names: list[str], norms: list[float]) -> None:
        if self._facts:
            self._nonzero.update(name for name, norm in zip(names, norms, strict=True) if norm != 0.0)

    def _report(self, step: int) -> None:
        """Sends the fact `gradients` when enough optimizer steps were seen."""
        steps = self.context.optimizer_steps
        if not self._facts or steps < self._facts[0] or not self._samples:
            return
        while self._facts and steps >= self._facts[0]:
            self._facts.pop(0)
        zero = self._arrived - self._nonzero
        fact = {
            "steps": steps,
            "none": sorted(self._missing - self._arrived),
            "zero": sorted(zero),
            "sampled": self._samples,
            "all_zero": bool(zero) and not self._nonzero,
        }
        self.context.outbox.record("fact", "gradients", step, fact)

    def on_finish(self) -> None:
        """Sends the fact of a training that was shorter than the first report."""
        if self._facts == list(FACT_AFTER) and self._samples:
            self._facts = [1]
            self._report(self.context.step)


def _columns_of(names: Iterable[str]) -> tuple[str, ...]:
    return "grad_norm", *tensors.columns(tuple(names), ("grad_norm/",))
