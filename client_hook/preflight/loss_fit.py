"""GW202: the loss function does not fit what the model answers or what the targets are."""

from __future__ import annotations

from typing import Any

from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.loss_seen import REGRESSION
from client_hook.preflight.observed import observe
from client_hook.preflight.results import CheckResult, limit
from client_hook.preflight.subject import Subject

OUTSIDE, MOST_IDS = 0.01, 20
LIMITS = [
    limit("targets outside [0, 1]", OUTSIDE, "of the targets", "ours: room for a few mislabelled values"),
    limit("class ids", MOST_IDS, "different values", "ours: more whole numbers are counts or ratings"),
]


class Check:
    """Looks at the call of the loss function over eleven batches."""

    code, name, passes = "GW202", "loss-task-mismatch", 0

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges the first misfit."""
        call = observe(subject).facts.get("loss_call", {})
        function = call.get("function")
        if not function:
            return not_evaluated(self, "no call of one of PyTorch's loss functions was seen")
        shapes = {"input": str(call["input"]["shape"]), "target": str(call["target"]["shape"]), "function": function}
        told = _misfit(function, call)
        layers = [call["last_layer"]] if call.get("last_layer") else []
        if told is None:
            words = f"{function} of outputs {shapes['input']} against targets {shapes['target']}"
            return passed(self, words, strings=shapes, thresholds=LIMITS)
        severity, message, advice = told
        return found(self, severity, message, advice, strings=shapes, layers=layers, thresholds=LIMITS)


def _misfit(function: str, call: dict[str, Any]) -> tuple[str, str, str] | None:
    given, wanted = call["input"], call["target"]
    before, classes = str(call.get("previous_op") or ""), call.get("classes")
    top, low = given["max"], given["min"]
    softmax = bool(call.get("rows_sum_to_one")) and (classes or 0) > 1
    if function in ("cross_entropy", "nll_loss") and classes == 1:
        return (
            "error",
            f"{function} got one output a sample: the loss is 0 whatever the model says",
            ("For two classes and one output use binary_cross_entropy_with_logits; for C classes give C outputs."),
        )
    if function == "cross_entropy" and softmax:
        return (
            "error",
            "cross_entropy got probabilities instead of logits: softmax is applied twice",
            ("Remove the softmax before the loss; cross_entropy applies log-softmax itself."),
        )
    if function == "binary_cross_entropy_with_logits" and before.startswith("Sigmoid"):
        return (
            "error",
            "binary_cross_entropy_with_logits got the output of a sigmoid: it is applied twice",
            ("Remove the sigmoid before the loss."),
        )
    if function == "nll_loss" and top is not None and top > 0 and not call.get("log_probabilities"):
        return (
            "error",
            f"nll_loss got values up to {top:.3g} where logarithms of probabilities belong",
            ("Call cross_entropy with the raw outputs, or put log_softmax(x, dim=1) before nll_loss."),
        )
    if function == "kl_div" and ((top or 0) > 0 or softmax):
        return (
            "warning",
            f"kl_div got values up to {top or 0:.3g} as its first argument, which must be log-probabilities",
            ('Write kl_div(log_softmax(x, dim=1), target, reduction="batchmean").'),
        )
    if function == "kl_div" and call["arguments"].get("reduction") == "mean":
        return (
            "warning",
            'kl_div with reduction="mean" divides by the classes too and is no divergence',
            ('Pass reduction="batchmean".'),
        )
    if function in REGRESSION and call.get("broadcast") and _share_targets(given["shape"], wanted["shape"]):
        return (
            "info",
            (
                f"{function} got outputs {given['shape']} and targets {wanted['shape']}: each row is compared with "
                "the same targets"
            ),
            "Right where several heads or moments share them; else stack the targets of each.",
        )
    if function in REGRESSION and call.get("broadcast"):
        return (
            "error",
            f"{function} got outputs {given['shape']} and targets {wanted['shape']}, which broadcasting blows up",
            ("Make the shapes equal: prediction.squeeze(1) or target.unsqueeze(1)."),
        )
    if function.startswith("binary_cross_entropy"):
        if (wanted["outside_unit"] or 0) > OUTSIDE:
            return (
                "error",
                (f"{function} got targets that are no probabilities: {wanted['outside_unit']:.0%} lie outside [0, 1]"),
                "Scale the targets to [0, 1]; for class ids use cross_entropy with C outputs; for amounts mse_loss.",
            )
        if function == "binary_cross_entropy" and (given["outside_unit"] or 0) > 0:
            return (
                "error",
                f"binary_cross_entropy got outputs outside [0, 1] (from {low:.3g} to {top:.3g})",
                ("Use binary_cross_entropy_with_logits for raw outputs."),
            )
        if function.endswith("logits") and call.get("one_hot") and (classes or given["shape"][-1]) > 2:
            return (
                "info",
                "binary_cross_entropy_with_logits got one-hot rows",
                ("Classes that exclude each other are usually trained with cross_entropy and class ids."),
            )
    distinct = wanted["distinct"] or 0
    ids = wanted["integer"] and wanted["min"] == 0 and wanted["max"] == distinct - 1 and 3 <= distinct <= MOST_IDS
    outputs = given["shape"][-1] if len(given["shape"]) > 1 else 1
    if function in REGRESSION and ids and ("int" in wanted["dtype"] or outputs == distinct):
        return (
            "error",
            f"{function} got class ids 0 to {distinct - 1} as targets: class 2 counts as twice class 1",
            (f"Use cross_entropy with {distinct} outputs; convert amounts to float."),
        )
    binary = wanted["integer"] and distinct == 2 and (wanted["min"], wanted["max"]) == (0, 1)
    if function in ("l1_loss", "mse_loss") and binary and before.startswith(("Sigmoid", "Softmax")):
        return (
            "warning" if function == "l1_loss" else "info",
            f"{function} compares probabilities with labels 0 and 1",
            ("Use binary_cross_entropy_with_logits on the raw outputs."),
        )
    return None


def _share_targets(given: list[int], wanted: list[int]) -> bool:
    """Says whether outputs are rows like the targets, but not as many as there are targets: n × 1 against n is not."""
    return bool(wanted) and given[1:] == wanted and wanted[0] > 1 and given[0] != wanted[0]
