"""GW461: dropout before batch norm, whose running variance then fits training alone."""

from __future__ import annotations

from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.observed import observe
from client_hook.preflight.results import CheckResult, limit
from client_hook.preflight.subject import Subject

RATE = 0.05
LIMITS = [limit("rate", RATE, "p", "ours: below it the variance hardly shifts")]


class Check:
    """Follows the graph from each dropout to the next batch norms."""

    code, name, passes = "GW461", "dropout-before-batchnorm", 0

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges direct pairs as warnings, diluted ones as remarks."""
        observed = observe(subject)
        kinds = [item["type"] for item in observed.layers.values()]
        if not any("BatchNorm" in kind for kind in kinds) or not any("Dropout" in kind for kind in kinds):
            return not_evaluated(self, "the model does not have both dropout and batch norm")
        pairs = [item for item in observed.graph.get("dropout_before_norm", ()) if (item["p"] or 0) >= RATE]
        if not pairs:
            return passed(self, "no dropout comes before a batch norm", thresholds=LIMITS)
        pair = min(pairs, key=lambda item: bool(item["weighted_between"]))
        between = "with a" if pair["weighted_between"] else "with no"
        return found(
            self,
            "info" if pair["weighted_between"] else "warning",
            f"dropout `{pair['dropout']}` (p = {pair['p']:g}) comes before batch norm `{pair['norm']}`, {between} "
            "weighted layer between: in evaluation the norm divides by a variance that only training has",
            f"Move `{pair['dropout']}` behind the last batch norm, or use LayerNorm or GroupNorm.",
            layers=[pair["dropout"], pair["norm"]],
            numbers={"p": float(pair["p"])},
            thresholds=LIMITS,
        )
