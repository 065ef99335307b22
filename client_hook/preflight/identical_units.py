"""GW114: weights that start as zeros or all alike, and stay so."""

from __future__ import annotations

from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.observed import STEPS, observe
from client_hook.preflight.results import CheckResult, limit
from client_hook.preflight.subject import Subject

LIMITS = [
    limit("alike", 1e-4, "of the largest weight", "exact but for rounding; a zero start has moved after ten steps")
]


class Check:
    """Looks at the matrices again after ten steps: a legitimate zero start has moved by then."""

    code, name, passes = "GW114", "zero-or-identical-init", 0

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges hidden matrices; the last layer may have equal rows."""
        observed = observe(subject)
        cut = {*observed.graph.get("unreached", ()), *observed.facts.get("gradients", {}).get("none", ())}
        items = [item for item in observed.parameters if len(item["shape"] or ()) > 1 and item["name"] not in cut]
        order = {name: item["order"] for name, item in observed.layers.items()}
        last = max((order.get(item["layer"]) or 0 for item in items), default=0)
        zero = [item for item in items if item.get("zero")]
        same = [
            item
            for item in items
            if item.get("rows_identical") and item["shape"][0] > 1 and (order.get(item["layer"]) or 0) < last
        ]
        bad = zero or same
        if bad and int(observed.facts["model"].get("checked_after") or 0) < STEPS - 1:
            return not_evaluated(self, "the weights were not looked at a second time")
        if bad:
            what = "is exactly 0" if zero else "has rows that are all the same"
            return found(
                self,
                "error",
                f"`{bad[0]['name']}` {what} after ten steps" + (f", and {len(bad) - 1} more" if len(bad) > 1 else ""),
                "Start it at random: kaiming_normal_ for ReLU, xavier_uniform_ for tanh; constants belong into biases.",
                layers=[item["layer"] for item in bad],
                thresholds=LIMITS,
            )
        return passed(self, f"the units of {len(items)} matrices differ after ten steps", thresholds=LIMITS)
