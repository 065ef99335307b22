"""GW313: weighted layers that follow each other without an activation between them."""

from __future__ import annotations

from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.observed import observe
from client_hook.preflight.results import CheckResult, limit
from client_hook.preflight.subject import Subject

LONG = 3
LIMITS = [limit("long", LONG, "weighted layers in a row", "ours: pairs are often meant (LoRA)")]
CURVED = ("Exp", "Sin", "Cos", "Pow", "Rnn", "Lstm", "Gru", "ScaledDotProduct")


class Check:
    """Follows the graph from the inputs to the loss."""

    code, name, passes = "GW313", "missing-nonlinearity", 0

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges a model without any activation, and long rows in one that has some."""
        graph = observe(subject).graph
        if not graph or graph.get("truncated"):
            return not_evaluated(self, "the graph is too large to walk" if graph else "no backward was seen")
        runs = [item for item in graph["linear_runs"] if item["weighted"] >= 2]
        alone = not graph["activations"] and not any(item["op"].startswith(CURVED) for item in graph["sequence"])
        longest = max(runs, key=lambda item: item["weighted"], default=None)
        if longest is None or not (alone or longest["weighted"] >= LONG):
            count = graph["activations"]
            words = f"{count} activation{'s' * (count != 1)} between {graph['weighted']} weighted operations"
            return passed(self, words, thresholds=LIMITS)
        first, last = str(longest["first"]), str(longest["last"])
        return found(
            self,
            "warning" if alone else "info",
            f"{longest['weighted']} weighted layers follow each other without an activation, from `{first}` to `{last}`"
            + (": together they are one linear layer" if alone else ""),
            f"Put an activation behind each hidden layer, for example nn.ReLU() after `{first}`.",
            layers=[first, last],
            thresholds=LIMITS,
        )
