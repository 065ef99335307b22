"""GW301: trainable parameters that the loss does not reach, or that get no gradient in ten steps."""

from __future__ import annotations

from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.observed import observe
from client_hook.preflight.results import CheckResult, curve
from client_hook.preflight.subject import Subject


class Check:
    """Walks the graphs of three backwards and watches gradients for ten steps."""

    code, name, passes = "GW301", "param-no-grad", 11

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges what autograd and the gradients show."""
        observed = observe(subject)
        graph, gradients = observed.graph, observed.facts.get("gradients", {})
        if not graph or graph.get("truncated"):
            return not_evaluated(self, "the graph is too large to walk" if graph else "no backward was seen")
        norms = [(name, observed.first(f"grad_norm/{name}")) for name in subject.parameters]
        shown = [(index, norm) for index, (_, norm) in enumerate(norms) if norm == norm]
        curves = {
            "gradient norms at the start": curve(
                [index for index, _ in shown], [norm for _, norm in shown], "parameter, first to last", "norm", log=True
            )
        }
        numbers = {"parameters": float(len(norms))}
        ends = set(graph.get("left_over", ()))
        cut = sorted({*graph.get("unreached", ()), *gradients.get("none", ())} - ends)
        if cut:
            called = observed.layers
            idle = [name for name in _layers(cut) if name in called and called[name].get("order") is None]
            why = f"; `{idle[0]}` is never called" if idle else ""
            return found(
                self,
                "error",
                f"{len(cut)} of {len(norms)} parameters do not reach the loss: {_few(cut)}{why}",
                "Look for detach(), no_grad(), .data or argmax on the way, or a module that forward does not call.",
                layers=_layers(cut),
                numbers=numbers,
                curves=curves,
            )
        if gradients.get("all_zero"):
            return found(
                self,
                "error",
                "every gradient is exactly 0: no signal reaches the weights",
                "The output is constant or saturated: look at the last activation and at the loss function.",
                numbers=numbers,
                curves=curves,
            )
        zero = sorted(gradients.get("zero", ()))
        if zero:
            return found(
                self,
                "warning",
                f"{len(zero)} of {len(norms)} parameters get a gradient of exactly 0 in ten steps: {_few(zero)}",
                "Look for dead ReLUs before them, a branch that is multiplied by 0, or inputs that are never used.",
                layers=_layers(zero),
                numbers=numbers,
                curves=curves,
            )
        left = f", but for {len(ends)} at the end of a chain of blocks ({_few(sorted(ends))})" if ends else ""
        return passed(self, f"all {len(norms)} parameters get a gradient{left}", numbers=numbers, curves=curves)


def _layers(names: list[str]) -> list[str]:
    return list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))


def _few(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:3]) + (" …" if len(names) > 3 else "")
