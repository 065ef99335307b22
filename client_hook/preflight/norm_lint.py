"""GW435: settings of batch norm that are wasted or not meant."""

from __future__ import annotations

from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.observed import observe
from client_hook.preflight.results import CheckResult, limit
from client_hook.preflight.subject import Subject

MOMENTUM, EPS = 0.5, 0.01
LIMITS = [
    limit("momentum", MOMENTUM, "share of the newest batch", "ours"),
    limit("eps", EPS, "added to the variance", "ours: a tenth of a standard deviation"),
]


class Check:
    """Reads the arguments of the batch norms and the layers before them."""

    code, name, passes = "GW435", "bn-config-lint", 0

    def run(self, subject: Subject, budget: Budget) -> CheckResult:  # noqa: ARG002
        """Judges the worst setting."""
        observed = observe(subject)
        norms = {name: item["arguments"] for name, item in observed.layers.items() if "BatchNorm" in item["type"]}
        if not norms:
            return not_evaluated(self, "the model has no batch norm")
        fast = [name for name, item in norms.items() if (item.get("momentum") or 0) >= MOMENTUM]
        stuck = [name for name, item in norms.items() if item.get("momentum") == 0]
        blind = [name for name, item in norms.items() if item.get("track_running_stats") is False]
        soft = [name for name, item in norms.items() if (item.get("eps") or 0) > EPS]
        biased = [
            pair["layer"]
            for pair in observed.graph.get("weighted_before_norm", ())
            if pair["norm"] in norms and observed.layers.get(pair["layer"], {}).get("arguments", {}).get("bias")
        ]
        for names, severity, what, advice in (
            (
                fast,
                "warning",
                f"a momentum of {MOMENTUM:g} or more: its statistics follow the last batch",
                "PyTorch's momentum is the share of the new batch: 0.1 is what TensorFlow calls 0.9.",
            ),
            (
                stuck,
                "warning",
                "a momentum of 0: its statistics never move",
                "Use momentum=0.1, or freeze it with .eval().",
            ),
            (soft, "info", f"an eps above {EPS:g}", "eps=1e-5 is the default."),
            (
                blind,
                "info",
                "no running statistics: evaluation uses those of its batch",
                "Use track_running_stats=True.",
            ),
            (biased, "info", "a bias right before a batch norm, which subtracts it again", "Write bias=False there."),
        ):
            if names:
                return found(self, severity, f"`{names[0]}` has {what}", advice, layers=names, thresholds=LIMITS)
        return passed(self, f"{len(norms)} batch norms with usual settings", thresholds=LIMITS)
