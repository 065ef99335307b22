"""GW302: parameters that the optimizer does not hold, and layers that the model does not know of."""

from __future__ import annotations

from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.observed import observe
from client_hook.preflight.results import CheckResult
from client_hook.preflight.subject import Subject


class Check:
    """Compares the model's parameters with the optimizer's, and with the leaves that the loss reaches."""

    code, name, passes = "GW302", "param-not-in-optimizer", 0

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges by identity."""
        strangers = observe(subject).graph.get("unregistered") or []
        if strangers:
            return found(
                self,
                "error",
                f"{len(strangers)} parameters of the loss belong to no module of the model (the first has shape "
                f"{strangers[0]['shape']})",
                "Keep layers in nn.ModuleList or nn.ModuleDict, not in a list or dict.",
                numbers={"unregistered": float(len(strangers))},
            )
        if subject.optimizer is None:
            return not_evaluated(self, "no optimizer was given: preflight(model, loss_fn, batch, optimizer)")
        held = [parameter for group in subject.optimizer.param_groups for parameter in group["params"]]
        ids = {id(item) for item in held}
        missing = [name for name, item in subject.parameters.items() if id(item) not in ids]
        numbers = {"missing": float(len(missing)), "held": float(len(held))}
        if missing:
            return found(
                self,
                "error",
                f"the optimizer lacks {len(missing)} of {len(subject.parameters)} trainable parameters: `{missing[0]}`"
                + (" …" if len(missing) > 1 else ""),
                "Make the optimizer after the model is complete: optim.Adam(model.parameters()).",
                layers=list(dict.fromkeys(name.rpartition(".")[0] or name for name in missing)),
                numbers=numbers,
            )
        if len(ids) < len(held):
            return found(
                self,
                "error",
                f"{len(held) - len(ids)} parameters are in the optimizer twice",
                "List each parameter in one group.",
                numbers=numbers,
            )
        return passed(self, f"the optimizer holds all {len(subject.parameters)} trainable parameters", numbers=numbers)
