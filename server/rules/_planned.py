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
        "GW508",
        "worse-than-baseline",
        "At equal steps the loss is above that of the chosen baseline run",
        "a project cannot choose a run as its baseline yet, and a rule sees one run alone; until then, compare two "
        "runs on the page Compare",
    ),
    Planned(
        "GW806",
        "representation-collapse",
        "Embeddings of self-supervised training shrink to a point",
        "nothing in a training says which tensor is the embedding, so watch() needs a way to name it; a divergence "
        "that collapses in a VAE is told by GW451",
    ),
    Planned(
        "GW906",
        "uneven-gradient-scale",
        "Losses are summed over ranks or windows",
        "the loss that a loop reports need not be the one that it differentiates, and a gradient that grows with the "
        "number of processes shows only between two runs, which a rule cannot compare; sums over micro-batches are "
        "told by GW315",
    ),
)
