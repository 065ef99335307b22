"""GW210: one part of the loss has a gradient that drowns the others."""

from __future__ import annotations

import torch

from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.results import CheckResult, curve, limit
from client_hook.preflight.subject import Subject

WARNING, ERROR, SOLVED = 100.0, 1000.0, 1e-6
LIMITS = [
    limit("warning", WARNING, "times the smallest gradient norm", "ours"),
    limit("error", ERROR, "times the smallest gradient norm", "ours"),
    limit("solved", SOLVED, "value of a part", "ours: below it a part is masked or solved"),
]


class Check:
    """Runs one backward for each part and compares their gradients on the parameters that all of them share."""

    code, name, passes = "GW210", "multi-loss-scale", 4

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges largest against smallest."""
        with subject.mode(True, dropout=False):
            answer = subject.run()
        parts = {name: item for name, item in answer.parts.items() if abs(item.item()) > SOLVED}
        if len(parts) < 2:
            return not_evaluated(self, 'the loss has no named parts; return them: {"loss": a + b, "a": a, "b": b}')
        weights = list(subject.parameters.values())
        by_part = {
            name: torch.autograd.grad(part.reshape(()), weights, retain_graph=True, allow_unused=True)
            for name, part in parts.items()
        }
        shared = [at for at in range(len(weights)) if all(found[at] is not None for found in by_part.values())]
        if not shared:
            return not_evaluated(self, "the parts of the loss share no parameter")
        norms = {name: sum(_square(given[at]) for at in shared) ** 0.5 for name, given in by_part.items()}
        small, large = min(norms, key=lambda name: norms[name]), max(norms, key=lambda name: norms[name])
        ratio = norms[large] / norms[small] if norms[small] > 0 else float("inf")
        words = ", ".join(f"{name} {norm:.3g}" for name, norm in norms.items())
        more = {
            "numbers": {"ratio": ratio, **{f"gradient of {name}": norm for name, norm in norms.items()}},
            "thresholds": LIMITS,
            "curves": {"gradient norms": curve(range(len(norms)), norms.values(), ", ".join(norms), "norm", log=True)},
        }
        if ratio > WARNING:
            return found(
                self,
                "error" if ratio > ERROR else "warning",
                f"the gradient of `{large}` is {ratio:.3g} times that of `{small}` on {len(shared)} shared parameters",
                f"Weight the parts so that their gradients are alike: {large} × {1 / ratio:.1g}.",
                **more,
            )
        return passed(self, f"gradient norms on {len(shared)} shared parameters: {words}", **more)


def _square(gradient: torch.Tensor) -> float:
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    return values.double().square().sum().item()
