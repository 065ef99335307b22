"""Measures the outputs of all leaf modules on sampled steps: mean, std, largest, zeros, saturated, non-finite.

It looks at a few thousand elements of each output, and at all of them for the largest. Not for: units that never fire
(dead_units).
"""

from __future__ import annotations

import weakref

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from client_hook.capture import tensors
from client_hook.capture.base import Context, Signal
from client_hook.capture.forward_hooks import ForwardHooks, is_compiled

SAMPLE = 4_096
SAMPLE_IN_LARGE_MODELS = 1_024
LARGE_MODEL = 500  # leaf modules
LIST_AGAIN_AFTER = 32  # sampled steps: a model may grow
TANH_LIMIT = 0.97
SIGMOID_LIMIT = 0.03
CHECK_VISIBLE_AT = 3

_ALL = ("act/mean/", "act/std/", "act/absmax/", "act/zeros/", "act/nonfinite/")


class ActivationSignal(Signal):
    """Copies a sample of each output inside the forward hook; computes all statistics when the step closes."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._hooks = ForwardHooks(context, self._see)
        self._leaves: list[tuple[str, weakref.ref[nn.Module]]] = []
        self._armed = 0
        self._size = SAMPLE
        # rank of the call, sample, and the ends of an output that is larger than a sample
        self._samples: dict[str, tuple[int, Tensor, Tensor | None]] = {}
        self._limits: dict[str, str] = {}  # which modules can saturate, and how

    def arm(self, sampled: bool) -> None:
        """Puts the hooks on, or takes them off."""
        self._samples.clear()
        if not sampled:
            self._hooks.take()
            return
        if self._armed % LIST_AGAIN_AFTER == 0:
            leaves = list(self.context.leaves())
            self._leaves = [(name, weakref.ref(module)) for name, module in leaves]
            self._limits = {name: kind for name, module in leaves if (kind := _limit_of(module))}
            self._size = SAMPLE if len(leaves) <= LARGE_MODEL else SAMPLE_IN_LARGE_MODELS
        self._armed += 1
        self._hooks.put(self._leaves)

    def _see(self, name: str, module: nn.Module, output: Tensor) -> None:
        # the first call of the training's own forward counts; one of a validation only where there is no other
        rank = torch.is_grad_enabled() + module.training
        known = self._samples.get(name)
        if known is None or known[0] < rank:
            # one value among millions is what overflows and what quantisation suffers from; no sample finds it
            whole = output.numel() > self._size and output.element_size() > 1
            ends = _ends(output).float() if whole else None
            self._samples[name] = (rank, tensors.sample(output, self._size), ends)

    def on_pre_step(self, key: str, optimizer: Optimizer) -> None:
        """Notices, once, which layers learn although their outputs cannot be seen."""
        if self._armed != CHECK_VISIBLE_AT:
            return
        hidden = [
            name
            for name, reference in self._leaves
            if name not in self._hooks.ran
            and (module := reference()) is not None
            and any(parameter.grad is not None for parameter in module.parameters(recurse=False))
        ]
        if hidden:
            which = f"{hidden[0]} and {len(hidden) - 1} more" if len(hidden) > 1 else hidden[0]
            unseen = f"activations not visible ({which})"
            compiled = is_compiled(self.context.models.values()) or not self._hooks.ran
            # else: `embedding.weight[…]`, or a call inside a compiled function
            self.context.note(f"compiled: {unseen}." if compiled else f"{unseen}: nothing calls what learns there.")

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Computes the statistics of all samples of one size at once."""
        samples, self._samples = self._samples, {}
        alike: dict[tuple[torch.device, int, bool], list[str]] = {}
        for name, (_, sample, ends) in samples.items():
            alike.setdefault((sample.device, len(sample), ends is None), []).append(name)
        for names in alike.values():
            matrix = torch.stack([samples[name][1] for name in names])
            whole = [item for name in names if (item := samples[name][2]) is not None]
            parts = list(_statistics(matrix, torch.stack(whole, dim=1) if whole else _ends(matrix, dim=1)))
            tanh = [name for name in names if self._limits.get(name) == "tanh"]
            sigmoid = [name for name in names if self._limits.get(name) == "sigmoid"]
            for saturating, centre, limit in ((tanh, 0.0, TANH_LIMIT), (sigmoid, 0.5, 0.5 - SIGMOID_LIMIT)):
                if saturating:
                    rows = torch.stack([samples[name][1] for name in saturating])
                    parts.append(_share((rows - centre).abs() > limit))
            columns = tensors.columns(tuple(names), _ALL) + tensors.columns((*tanh, *sigmoid), ("act/saturated/",))
            self.context.readback.put(step, time_ms, columns, torch.cat(parts))

    def detach(self) -> None:
        """Takes every hook off."""
        self._hooks.clear()
        self._samples.clear()
        self._leaves = []


def _ends(values: Tensor, dim: int | None = None) -> Tensor:
    """Gives the least and the largest value; NaN where there is one."""
    least, largest = torch.aminmax(values, dim=dim)
    return torch.stack((least, largest))


def _statistics(rows: Tensor, ends: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gives mean, std, absmax, share of zeros and share of non-finite values of each row; `ends` are the least and the
    largest values of what the rows stand for, 2 × rows."""
    length = rows.shape[1]
    mean = rows.mean(dim=1)
    std = torch.linalg.vector_norm(rows - mean.unsqueeze(1), dim=1) / length**0.5
    absmax = ends.abs().amax(dim=0)
    zeros = torch.eq(rows, 0, out=torch.empty_like(rows)).mean(dim=1)
    if rows.is_cpu and bool(torch.isfinite(absmax).all()):
        return mean, std, absmax, zeros, torch.zeros_like(mean)
    return mean, std, absmax, zeros, _share(~torch.isfinite(rows))


def _share(rows: Tensor) -> Tensor:
    return rows.to(torch.float32).mean(dim=1)


def _limit_of(module: nn.Module) -> str | None:
    if isinstance(module, nn.Tanh):
        return "tanh"
    return "sigmoid" if isinstance(module, nn.Sigmoid) else None
