"""Optimizers that people write themselves: Lion and Muon."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer


class Lion(Optimizer):
    """Steps by the sign of a momentum (Chen et al. 2023)."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, decay: float = 0.1) -> None:
        super().__init__(parameters, {"lr": lr, "betas": (0.9, 0.99), "weight_decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Takes a step."""
        for group in self.param_groups:
            first, second = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                average = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_((average * first + p.grad * (1 - first)).sign(), alpha=-group["lr"])
                average.lerp_(p.grad, 1 - second)


class Muon(Optimizer):
    """Orthogonalises the momentum of each matrix (Jordan et al. 2024)."""

    def __init__(self, parameters: Iterable[Tensor], lr: float = 0.02, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Takes a step."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                memory = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                memory.mul_(group["momentum"]).add_(p.grad)
                way = p.grad.add(memory, alpha=group["momentum"])
                p.add_(_orthogonal(way), alpha=-group["lr"] * max(1, p.shape[0] / p.shape[1]) ** 0.5)


def _orthogonal(x: Tensor) -> Tensor:
    """Newton and Schulz's iteration with the coefficients that are in use."""
    flat = x.shape[0] > x.shape[1]
    x = x.T if flat else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        both = x @ x.T
        x = 3.4445 * x + (-4.7750 * both + 2.0315 * both @ both) @ x
    return x.T if flat else x


def muon_and_adam(model: nn.Module) -> dict[str, Optimizer]:
    """Gives the hidden matrices to Muon and everything else to AdamW."""
    matrices = [item for name, item in model.named_parameters() if item.ndim == 2 and not name.startswith("4.")]
    chosen = {id(item) for item in matrices}
    rest = [item for item in model.parameters() if id(item) not in chosen]
    return {"muon": Muon(matrices), "adam": AdamW(rest, 3e-3)}
