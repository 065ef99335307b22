"""GW212: the last operation before the loss cannot give what the targets ask for."""

from __future__ import annotations

from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.loss_seen import REGRESSION
from client_hook.preflight.observed import observe
from client_hook.preflight.results import CheckResult, limit
from client_hook.preflight.subject import Subject

OUTSIDE, EXCLUSIVE = 0.05, 0.05
LIMITS = [
    limit("outside", OUTSIDE, "of the targets", "ours: label noise"),
    limit("exclusive", EXCLUSIVE, "labels a row away from 1", "ours: rows of exclusive classes sum to 1"),
]
REACH = {
    "Relu": ("negative", "numbers from 0 up"),
    "Sigmoid": ("outside_unit", "numbers from 0 to 1"),
    "Softmax": ("outside_unit", "numbers from 0 to 1"),
    "Tanh": ("outside_symmetric", "numbers from -1 to 1"),
}


class Check:
    """Compares the reach of that operation with the targets of eleven batches."""

    code, name, passes = "GW212", "output-activation-mismatch", 0

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges by the operation's name."""
        call = observe(subject).facts.get("loss_call", {})
        function, before = call.get("function"), str(call.get("previous_op") or "")
        if not function or not before:
            return not_evaluated(self, "the operation before the loss was not seen")
        operation = before.rstrip("01").removesuffix("Backward").removeprefix("Log")
        target, classes = call["target"], call.get("classes") or 0
        share, reach = REACH.get(operation, ("", ""))
        word = operation.lower()
        message = ""
        if operation == "Softmax" and call.get("previous_dim") == 1:
            message = "the outputs come from a softmax over a single number: they are always 1"
        elif share and function in REGRESSION and (target[share] or 0) > OUTSIDE:
            message = (
                f"{target[share]:.0%} of the targets lie out of reach: the model ends in a {word}, which gives {reach}"
            )
        elif function == "cross_entropy" and classes > 1 and operation in ("Relu", "Sigmoid"):
            message = f"the logits of {classes} classes pass a {word} before cross_entropy: they cannot leave {reach}"
        elif (
            operation == "Softmax"
            and function == "binary_cross_entropy"
            and call.get("one_hot") is False
            and target["distinct"] == 2
            and abs(target["mean"] * max(call["input"]["shape"][-1], 1) - 1) > EXCLUSIVE
        ):
            message = "the outputs come from a softmax, so they sum to 1, but the targets hold several labels a row"
        if message:
            advice = f"Remove the {word} at the end; cross_entropy and the losses with_logits take raw outputs."
            layers = [call["last_layer"]] if call.get("last_layer") else []
            return found(self, "error", message, advice, layers=layers, thresholds=LIMITS)
        return passed(self, f"the model ends in {before.rstrip('01').removesuffix('Backward')}", thresholds=LIMITS)
