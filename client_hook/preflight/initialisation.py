"""GW471: weight matrices that start far too large or too small."""

from __future__ import annotations

from typing import Any

from torch import nn

from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.observed import observe
from client_hook.preflight.results import CheckResult, curve, limit
from client_hook.preflight.subject import Subject

LARGE, HIGH, LOW = 25.0, 10.0, 0.05
LIMITS = [
    limit("large", LARGE, "var(w)·fan_in", "ours: a gain of 5"),
    limit("high", HIGH, "var(w)·fan_in", "ours: five times He"),
    limit("low", LOW, "var(w)·fan_in", "ours: a sixth of PyTorch's default"),
]


class Check:
    """Compares the variance of each matrix with what initialisers aim at: He 2, Xavier 1, PyTorch 1/3.

    A table of numbers that no input is multiplied by (rates, positions) has no fan-in.
    """

    code, name, passes = "GW471", "bad-init", 0

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges matrices that no norm follows."""
        if subject.pretrained:
            return not_evaluated(self, "the weights were trained before")
        observed = observe(subject)
        tied = {name for names in observed.facts.get("model", {}).get("tied", ()) for name in names}
        normed = {pair["layer"] for pair in observed.graph.get("weighted_before_norm", ())}
        factors = tied | set(observed.graph.get("factors", ()))
        scales = {
            item["name"]: (item["layer"], scale)
            for item in observed.parameters
            if item["name"] in factors and (scale := _scale(item, tied)) and item["layer"] not in normed
        }
        if not scales:
            return not_evaluated(self, "no weight matrix that is not followed by a normalisation")
        values = [scale for _, scale in scales.values()]
        marks = [{"y": LARGE, "label": "large"}, {"y": LOW, "label": "small"}]
        more: dict[str, Any] = {
            "thresholds": LIMITS,
            "numbers": {"largest": max(values), "smallest": min(values)},
            "curves": {
                "scale of the matrices": curve(
                    range(len(values)), values, "matrix", "var(w)·fan_in", log=True, marks=marks
                )
            },
        }
        odd = {name: scale for name, (_, scale) in scales.items() if scale > HIGH or scale < LOW}
        if not odd:
            low, high = f"{min(values):.2g}", f"{max(values):.2g}"
            words = f"var(w)·fan_in of {len(values)} {'matrix' if len(values) == 1 else 'matrices'} is {low}"
            words += "" if low == high else f" to {high}"
            return passed(self, words, **more)
        worst = max(odd, key=lambda name: (odd[name] > HIGH, odd[name], -odd[name]))
        size, level = ("large", "warning" if odd[worst] > LARGE else "info") if odd[worst] > HIGH else ("small", "info")
        return found(
            self,
            level,
            f"`{worst}` starts too {size}: var(w)·fan_in = {odd[worst]:.3g} (He 2, Xavier 1, PyTorch's default 1/3)",
            "nn.init.kaiming_normal_(layer.weight); std=0.02 for an embedding that is the output layer too.",
            layers=[scales[name][0] for name in odd],
            **more,
        )


def _scale(item: dict[str, Any], tied: set[str]) -> float | None:
    shape, std, kind = item["shape"] or [], item.get("std"), str(item["layer_type"])
    if len(shape) < 2 or not std or "Norm" in kind or kind in ("LSTM", "GRU", "RNN"):
        return None
    if len(shape) > 2 and not hasattr(nn, kind):
        return None  # over which axes of a tensor of one's own is summed, its shape does not say
    if "Embedding" in kind:
        return float(std**2 * shape[-1]) if item["name"] in tied else None
    return float(std**2 * (item["fan_in"] or shape[1]))
