"""Lists the rules of the catalogue that do not exist yet, each with what it waits for.

Not for: rules that exist (one file each beside this one). A code here is never given to another rule.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Planned:
    """One rule to come: what it will find, and what is missing for it."""

    code: str
    name: str
    summary: str
    missing: str


PLANNED: tuple[Planned, ...] = (
    Planned(
        "GW402",
        "batch-vs-noise-scale",
        "The batch is far above or below the gradient noise scale",
        "gradient norms of two batch sizes (micro-batches, or local and reduced gradients)",
    ),
    Planned("GW504", "no-checkpoint", "A long run saves no checkpoint", "a signal of what the training saves"),
    Planned(
        "GW508",
        "worse-than-baseline",
        "At equal steps the loss is above that of the chosen baseline run",
        "a baseline run that a project chooses",
    ),
    Planned(
        "GW806",
        "representation-collapse",
        "Embeddings of self-supervised training shrink to a point",
        "which output is the embedding (a declaration)",
    ),
    Planned("GW906", "uneven-gradient-scale", "Losses are summed over ranks or windows", "evidence of all ranks"),
    Planned("GW956", "router-collapse", "A mixture of experts uses few of them", "the load of each expert"),
)
