"""GW310: at the start the signal grows or fades from layer to layer."""

from __future__ import annotations

import math
from itertools import pairwise

from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.observed import Observed, observe
from client_hook.preflight.results import CheckResult, curve, limit
from client_hook.preflight.subject import Subject

PRODUCT, GAIN, DEPTH = 1e3, 30.0, 4
PLAIN = ("Linear", "Conv1d", "Conv2d", "Conv3d")
LIMITS = [
    limit("product", PRODUCT, "times, first to last", "ours"),
    limit("gain", GAIN, "times, layer to layer", "ours: a gain of 5 is a bad start of one layer"),
    limit("depth", DEPTH, "weighted layers", "ours: less is no depth"),
]


class Check:
    """Measures the standard deviation behind each layer before the first update."""

    code, name, passes = "GW310", "activation-scale-drift", 0

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges plain chains: where norms or branches keep the scale, layers are unlike by design."""
        observed = observe(subject)
        stds = {name: observed.first(f"act/std/{name}") for name in observed.layers}
        shown = [(name, value) for name, value in stds.items() if value == value and value > 0]
        curves = {
            "standard deviation by depth": curve(
                range(len(shown)),
                [value for _, value in shown],
                "layer, in the order of the calls",
                "standard deviation",
                log=True,
            )
        }
        chain = _chain(observed)
        values = [stds.get(name, math.nan) for name in chain]
        if len(chain) < DEPTH or not all(0 < value < math.inf for value in values):
            reason = "no plain chain of four weighted layers: norms, branches or recurrence keep the scale"
            return not_evaluated(self, reason, curves=curves)
        ratio = values[-1] / values[0]
        gains = [after / before for before, after in pairwise(values)]
        at = max(range(len(gains)), key=lambda index: abs(math.log(gains[index])))
        steep = max(gains[at], 1 / gains[at])
        numbers = {"first": values[0], "last": values[-1], "ratio": ratio, "largest gain": gains[at]}
        if 1 / PRODUCT < ratio < PRODUCT and steep < GAIN:
            words = f"standard deviation {values[0]:.2g} behind the first layer, {values[-1]:.2g} behind the last"
            return passed(self, words, numbers=numbers, curves=curves, thresholds=LIMITS)
        return found(
            self,
            "warning",
            f"the signal {'grows' if ratio > 1 else 'fades'} with depth: standard deviation {values[0]:.3g} behind "
            f"`{chain[0]}`, {values[-1]:.3g} behind `{chain[-1]}`; most at `{chain[at + 1]}` ({gains[at]:.3g} times)",
            "Use kaiming_normal_ (ReLU) or xavier_uniform_ (tanh), or put a normalisation between the layers.",
            layers=list(dict.fromkeys((chain[0], chain[at + 1], chain[-1]))),
            numbers=numbers,
            curves=curves,
            thresholds=LIMITS,
        )


def _chain(observed: Observed) -> list[str]:
    """Lists the weighted layers of a model that is a plain chain, its head left out."""
    if observed.facts.get("model", {}).get("normalised") or observed.graph.get("truncated"):
        return []
    kinds = {name: str(item["type"]) for name, item in observed.layers.items()}
    weighted = [str(item["layer"]) for item in observed.graph.get("sequence", ()) if item["kind"] == "weighted"]
    if any(kinds.get(name) not in PLAIN for name in weighted) or len(set(weighted)) != len(weighted):
        return []
    learning = {item["layer"] for item in observed.parameters}
    return [name for name in weighted if name in learning][:-1]
