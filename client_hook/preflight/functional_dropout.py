"""GW432: dropout that goes on in evaluation, because it is a function that nobody tells the mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from client_hook.patches.dropout import calling_module
from client_hook.preflight.checks import Budget, found, passed
from client_hook.preflight.results import CheckResult
from client_hook.preflight.subject import Subject

_DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout)


class _Ears(TorchFunctionMode):
    """Notes calls of dropout functions that drop, and the module whose forward made them."""

    def __init__(self) -> None:
        super().__init__()
        self.makers: list[tuple[nn.Module | None, str]] = []

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        rate = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
        drops = function in _DROPOUTS and kwargs.get("training", args[2] if len(args) > 2 else True) and rate
        if drops or (
            function is F.scaled_dot_product_attention and kwargs.get("dropout_p", args[4] if len(args) > 4 else 0)
        ):
            self.makers.append((calling_module(), getattr(function, "__name__", "dropout")))
        return function(*args, **kwargs)


class Check:
    """Listens to one forward in evaluation mode."""

    code, name, passes = "GW432", "train-eval-mode", 1

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges exactly: a dropout function that drops in evaluation."""
        ears = _Ears()
        with subject.mode(False), torch.no_grad(), ears:
            subject.run()
        if not ears.makers:
            return passed(self, "no dropout acts in evaluation mode")
        names = {id(module): name or "model" for name, module in subject.model.named_modules()}
        layers = list(dict.fromkeys(names.get(id(maker), "model") for maker, _ in ears.makers))
        return found(
            self,
            "error",
            f"`{layers[0]}` calls {ears.makers[0][1]} that goes on in evaluation mode ({len(ears.makers)} calls)",
            "Pass training=self.training (F.dropout drops by default), or use nn.Dropout.",
            layers=layers,
            numbers={"calls": float(len(ears.makers))},
        )
