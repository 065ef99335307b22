"""GW601: the first loss or gradient is no finite number."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from client_hook.preflight import trees
from client_hook.preflight.checks import Budget, found, passed
from client_hook.preflight.results import CheckResult
from client_hook.preflight.subject import Subject


class Check:
    """Runs one step and names the first module whose output is not finite."""

    code, name, passes = "GW601", "nonfinite-loss", 1

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Looks at loss, outputs and gradients."""
        bad: list[str] = []

        def look(name: str) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG001
                if not bad and not all(_finite(item) for _, item in trees.leaves(output)):
                    bad.append(name)

            return hook

        for name, module in subject.model.named_modules():
            if not any(True for _ in module.children()):
                module.register_forward_hook(look(name))
        with subject.mode(True):
            loss = subject.run().loss
            loss.backward()
        value = loss.item()
        broken = [name for name, item in subject.parameters.items() if item.grad is not None and not _finite(item.grad)]
        if not bad and not broken and _finite(loss):
            return passed(self, f"the first loss is {value:.4g}, and every gradient is finite", numbers={"loss": value})
        weights = [name for name, item in subject.model.state_dict().items() if not _finite(item)]
        inputs = [name or "inputs" for name, item in trees.leaves(subject.inputs()) if not _finite(item)]
        where = (
            f"the batch itself holds values that are not finite ({inputs[0]})"
            if inputs
            else f"the weights themselves are not finite ({weights[0]})"
            if weights
            else f"first in the output of `{bad[0]}`"
            if bad
            else f"no output is; the gradient of `{broken[0]}` is not"
            if broken and _finite(loss)
            else "every output of the model is finite: it is the loss function"
        )
        return found(
            self,
            "error",
            f"the first loss is {value:.4g}: {where}",
            "Look there for log(0), 0/0, sqrt at 0, exp of large values or missing values in the data.",
            layers=bad,
            numbers={"loss": value},
            strings={"gradients": ", ".join(broken[:8])},
        )


def _finite(tensor: Tensor) -> bool:
    tensor = tensor.detach().coalesce().values() if tensor.is_sparse else tensor
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
