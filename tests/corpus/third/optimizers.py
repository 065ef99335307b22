"""An optimizer without a schedule, as people write it themselves from the paper."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class ScheduleFree(Optimizer):
    """AdamW whose answer is an average of where it has been (Defazio et al. 2024); it has to be told the mode."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, beta: float = 0.9, decay: float = 0.0) -> None:
        super().__init__(parameters, {"lr": lr, "betas": (beta, 0.999), "eps": 1e-8, "weight_decay": decay, "k": 0})
        self.training = True

    @torch.no_grad()
    def eval(self) -> None:
        """Puts the average where the weights are."""
        if self.training:
            for group in self.param_groups:
                for p in group["params"]:
                    if "z" in self.state[p]:
                        p.lerp_(self.state[p]["z"], 1 - 1 / group["betas"][0])
        self.training = False

    @torch.no_grad()
    def train(self) -> None:
        """Goes back to the point between."""
        if not self.training:
            for group in self.param_groups:
                for p in group["params"]:
                    if "z" in self.state[p]:
                        p.lerp_(self.state[p]["z"], 1 - group["betas"][0])
        self.training = True

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Takes a step."""
        for group in self.param_groups:
            group["k"] += 1
            beta, second = group["betas"]
            share = 1 / group["k"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["z"], state["exp_avg_sq"] = p.clone(), torch.zeros_like(p)
                z, square = state["z"], state["exp_avg_sq"]
                square.mul_(second).addcmul_(p.grad, p.grad, value=1 - second)
                spread = (square / (1 - second ** group["k"])).sqrt_().add_(group["eps"])
                way = (p.grad / spread).add_(p, alpha=group["weight_decay"])
                p.lerp_(z, share)
                p.add_(way, alpha=group["lr"] * (beta * (1 - share) - 1))
                z.sub_(way, alpha=group["lr"])
