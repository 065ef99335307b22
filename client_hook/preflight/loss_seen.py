"""Sees which of PyTorch's loss functions a forward calls, and calls it again with another input.

So the loss of a model that knows nothing, and the lowest that any output could reach, come from the user's own call.
Not for: statistics of its inputs over many batches (observed).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from client_hook.capture import loss_arguments
from client_hook.guard import attempted
from client_hook.patches import patches
from client_hook.patches.losses import FUNCTIONS
from client_hook.preflight import trees
from client_hook.preflight.answers import Answer
from client_hook.preflight.subject import Subject

SAME = 1e-4  # relative: how near the call's value is to the whole loss
REGRESSION = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
LOG_INPUT = frozenset({"nll_loss", "kl_div"})
FREE_STEPS = 60


@dataclass
class LossCall:
    """One call of a loss function, its tensors without their graph."""

    function: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    input: Tensor
    target: Tensor

    @property
    def arguments(self) -> dict[str, Any]:
        """Its other arguments by name."""
        return loss_arguments.read(self.function, self.args, self.kwargs)

    @property
    def classes(self) -> int | None:
        """How many classes it tells apart; None for a loss without classes."""
        if self.function not in loss_arguments.BY_CLASS:
            return None
        return self.input.shape[1 if self.input.ndim > 1 else 0]

    @property
    def labels(self) -> Tensor | None:
        """The class ids that count."""
        if self.classes is None or self.target.is_floating_point():
            return None
        ignored = self.arguments.get("ignore_index", -100)
        return self.target[self.target != ignored].flatten()

    def again(self, value: Tensor) -> Tensor:
        """Calls it with another input and the same targets and arguments."""
        owner, name = next((owner, name) for owner, name, known in FUNCTIONS if known == self.function)
        result: Tensor = getattr(owner, name)(value, self.target, *self.args[2:], **self.kwargs)
        return result.mean() if result.ndim else result

    def knowing_nothing(self) -> Tensor:
        """Makes the input of a model that has no opinion: zero logits, equal probabilities, the answer 0."""
        if self.function == "binary_cross_entropy":
            return torch.full_like(self.input, 0.5)
        if self.function in LOG_INPUT:
            return torch.full_like(self.input, -math.log(self.input.shape[min(1, self.input.ndim - 1)]))
        return torch.zeros_like(self.input)

    def floor(self, groups: Tensor | None = None) -> float:
        """Gives the lowest loss that outputs can reach which are the same within a group; logits and answers only."""
        if self.function not in REGRESSION | {"cross_entropy", "binary_cross_entropy_with_logits"}:
            return 0.0
        rows = self.input.shape[0]
        if groups is None or len(groups) != rows:
            groups = torch.arange(rows, device=self.input.device)
        shape = (int(groups.max()) + 1, *self.input.shape[1:])
        free = torch.zeros(shape, dtype=self.input.dtype, device=self.input.device, requires_grad=True)
        optimizer = torch.optim.LBFGS([free], lr=1.0, max_iter=FREE_STEPS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = self.again(free[groups])
            loss.backward()
            return loss

        optimizer.step(closure)
        return float(self.again(free.detach()[groups]))


class _Listener:
    def __init__(self) -> None:
        self.calls: list[tuple[LossCall, Tensor]] = []

    def loss_call(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        pair = loss_arguments.tensors_of(args, kwargs)
        if pair is not None and isinstance(result, Tensor):
            call = LossCall(function, args, kwargs, pair[0].detach(), pair[1].detach())
            call.kwargs = {key: item for key, item in kwargs.items() if key not in ("input", "target")}
            self.calls.append((call, result.detach()))


def watched(run: Callable[[], Answer]) -> tuple[Answer, LossCall | None]:
    """Runs a forward; gives the loss function's call whose value is the whole loss, if there is one."""
    listener = _Listener()
    patches.subscribe(listener)
    try:
        answer = run()
    finally:
        patches.unsubscribe(listener)
    loss = answer.loss.item()
    for call, result in reversed(listener.calls):
        if call.function in loss_arguments.MEASURED and result.ndim == 0:
            value = result.item()
            if abs(value - loss) <= SAME * max(abs(loss), 1e-12) or (loss != loss and value != value):
                return answer, call
    return answer, None


def with_output(subject: Subject, answer: Answer, batch: Any, change: Callable[[Tensor], Tensor]) -> float | None:
    """Asks the user's loss function about other outputs; None where the model computes its loss itself.

    Only what the model computed is changed: an input that rides on the output stays.
    """
    targets = subject.targets(batch)
    if subject.loss_fn is None or targets is None:
        return None
    output = trees.convert(answer.output, lambda item: change(item.detach()) if item.requires_grad else item)
    result, error = attempted(subject.loss_of, output, targets)
    return None if error is not None else float(result.loss)
