"""GW462: dropout rates that are unlikely to be meant, or dropout on the outputs themselves."""

from __future__ import annotations

from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.observed import Observed, observe
from client_hook.preflight.results import CheckResult, limit
from client_hook.preflight.subject import Subject

HIGH, EXTREME = 0.5, 0.8
LIMITS = [
    limit("high", HIGH, "p", "Srivastava et al. 2014"),
    limit("extreme", EXTREME, "p", "ours: keep and drop confused"),
]


class Check:
    """Reads the rates of the dropout modules, and what follows them."""

    code, name, passes = "GW462", "dropout-rate", 0

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges the worst of them."""
        observed = observe(subject)
        rates = {
            name: float(item["arguments"].get("p") or 0)
            for name, item in observed.layers.items()
            if "Dropout" in item["type"]
        }
        if not rates:
            return not_evaluated(self, "the model has no dropout module")
        last = _on_outputs(observed)
        for names, severity, what in (
            ([name for name, rate in rates.items() if rate >= 1], "error", "drops everything"),
            (
                [name for name, rate in rates.items() if EXTREME <= rate < 1],
                "warning",
                "is the share that is dropped, not kept",
            ),
            (
                [last] if last is not None and rates.get(last) else [],
                "warning",
                "acts on the outputs, behind the last layer",
            ),
            ([name for name, rate in rates.items() if HIGH < rate < EXTREME], "info", "is high"),
        ):
            if names:
                return found(
                    self,
                    severity,
                    f"the p = {rates[names[0]]:g} of `{names[0]}` {what}",
                    "Use p between 0.1 and 0.5, before the last layer.",
                    layers=names,
                    thresholds=LIMITS,
                    numbers={"p": rates[names[0]]},
                )
        return passed(self, f"p = {', '.join(sorted({f'{rate:g}' for rate in rates.values()}))}", thresholds=LIMITS)


def _on_outputs(observed: Observed) -> str | None:
    """Finds a dropout behind the last weighted operation."""
    kinds = ("weighted", "activation", "norm", "dropout", "pool")
    inner = [item for item in observed.graph.get("sequence", ()) if item["kind"] in kinds]
    weighted = [at for at, item in enumerate(inner) if item["kind"] == "weighted"]
    after = inner[weighted[-1] + 1 :] if weighted and not observed.graph.get("truncated") else []
    if not after or after[0]["kind"] != "dropout":
        return None
    name = after[0]["layer"]
    return name if observed.facts.get("loss_call", {}).get("last_layer") in (None, name) else None
