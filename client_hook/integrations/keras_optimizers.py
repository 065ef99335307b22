"""Stands for Keras's own optimizers, which are none of torch's.

Not for: losses and the run (client_hook.integrations.keras).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import torch
from torch import Tensor


class Stand(torch.optim.Optimizer):
    """Steps whenever one of Keras's optimizers does: what that one was about to do is done between the hooks."""

    work = grad_scale = None  # type: Any

    def __init__(self, optimizer: Any, weights: list[Tensor]) -> None:
        super().__init__(weights, {"lr": float(optimizer.learning_rate)})
        self.optimizer = optimizer

    def step(self) -> Any:  # type: ignore[override]
        """Does the work."""
        return self.work()

    def begin(self, others: Iterable[Stand]) -> None:
        """Stands before the optimizer; which weights are whose, several tell by what they are given first."""
        optimizer, group = self.optimizer, self.param_groups[0]
        original, inner = optimizer.apply, getattr(optimizer, "inner_optimizer", optimizer)

        def apply(gradients: Any, variables: Any = None) -> Any:
            scaled = optimizer.scale_loss(one := torch.ones(()))
            self.grad_scale = None if scaled is one else scaled.detach()
            group["lr"] = float(optimizer.learning_rate)
            self.work = lambda: original(gradients, variables)
            parts = inner.gradient_accumulation_steps or 1
            if (int(inner._iterations) + 1) % parts:
                return self.work()
            if variables and others and len(group["params"]) != len(variables):
                mine = {id(item.value): item.value for item in variables}
                for held in (other.param_groups[0] for other in others):
                    held["params"] = [item for item in held["params"] if id(item) not in mine]
                group["params"] = list(mine.values())
            with _added_up(inner, variables, parts, self.grad_scale):
                return self.step()

        optimizer.apply = apply


def stands_of(model: Any) -> dict[str, Stand]:
    """Makes one for each optimizer of a model, and begins with it; the model's own has all weights at first."""
    names = {item: name for name, item in vars(model).items() if isinstance(item, keras.optimizers.Optimizer)}
    weights = [item for item in model.parameters() if item.requires_grad]
    stands = {name: Stand(item, weights) for item, name in names.items()}
    for stand in stands.values():
        if stand.optimizer is not model.optimizer:
            stand.param_groups[0]["params"] = []
        stand.begin([other for other in stands.values() if other is not stand])
    return stands


@contextmanager
def _added_up(inner: Any, variables: Any, parts: int, scale: Any) -> Iterator[None]:
    """Puts the mean gradient of several batches, which Keras adds up beside PyTorch, in the place of the last one's."""
    before: list[tuple[Any, Tensor]] = []
    for variable in variables or () if parts > 1 else ():
        if isinstance(gradient := variable.value.grad, Tensor):
            others = inner._accumulated_gradients[inner._get_variable_index(variable)].value
            before.append((variable.value, gradient))
            variable.value.grad = (gradient + others.detach() * (1 if scale is None else scale)) / parts
    try:
        yield
    finally:
        for weight, gradient in before:
            weight.grad = gradient
