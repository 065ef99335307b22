"""GW441: weight decay that does not do what its name says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._layers import groups, learning_matrices, listed, optimizers, parameters
from server.rules._rates import shrunk
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

CAME_TO_NOTHING = frozenset({"GW206", "GW311"})
ROUNDED = 1 + 1e-9  # 0.1 · 0.1 is above 0.01 in the last of its digits
BY_LAYER = ("LARS", "LAMB")  # most of them leave out biases and norms within their step, whatever the group says
COUPLED = ("Adam", "NAdam", "RAdam", "Adamax")  # they rescale the decay


class WeightDecayMisuse(Rule):
    """The run has a weight decay that works otherwise than it reads

    ## What it does
    Tells of Adam with `weight_decay` (an L2 term that Adam rescales; AdamW decays), of decay so strong that the weights
    are pulled to 0 many times over within the run (λ·η·steps above 20), or within a hundred steps (λ·η above 0.01), and
    of decay on biases, norm weights and embeddings (not those that are the last layer as well). An info: many recipes
    do this on purpose. It becomes a warning where the run came to nothing under such a decay (a loss that does not
    move, a constant output), half of the weights is gone and no other cause is known.

    ## Why it matters
    Under Adam the same λ means another thing for every weight. Decay on norm weights and biases buys nothing; on an
    embedding it shrinks the rows of seldom words at every step, and they learn at few.

    ## What you see in the chart
    Weight norms that fall in a straight line, or that do not react to λ at all.

    ## What to try
    - `AdamW` in the place of `Adam`; λ between 0.01 and 0.1.
    - Two groups: matrices with decay, biases and norm weights without.

    ## Example
    ```python
    Adam(model.parameters(), lr=1e-3, weight_decay=0.01)      # L2, rescaled by Adam
    AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)     # decay
    ```

    ## References
    - Loshchilov & Hutter 2019, *Decoupled Weight Decay Regularization*.
    - 20 time constants are ours: nothing of the start is left, and little else can stay. So is 0.01 a step: AdamW's
      defaults give 0.00001, SGD with 0.1 and 5e-4 0.00005.
    """

    code = "GW441"
    name = "weight-decay-misuse"
    severity = Severity.INFO
    since = "0.2.0"
    version = 5
    chart = "weight-norms"
    tier = "facts"
    clears_after = None
    stage = Stage.DECAY

    @dataclass(frozen=True)
    class Params:
        """How strong is too strong."""

        constants: float = threshold(
            20.0, unit="λ·η·steps", low=1.0, high=1000.0, source="ours: time constants of decay"
        )
        a_step: float = threshold(
            0.01, unit="λ·η", low=1e-4, high=1.0, source="ours: what was learned is forgotten within a hundred steps"
        )
        taken: float = threshold(0.5, unit="of the weights", low=0.1, high=1.0, source="ours: half of them is gone")
        strong: float = threshold(
            0.01, unit="weight_decay of Adam", low=1e-5, high=1.0, source="ours: AdamW's default; as an L2 term a lot"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `optimizers`."""
        if not optimizers(window):
            yield NotEvaluated("the optimizers are not known", "monitor = watch(model, optimizer)")
            return
        decaying = [(name, kind, group) for name, kind, group in groups(window) if (group.get("weight_decay") or 0) > 0]
        steps = window.planned or window.samples
        taken = shrunk(window, (item.name for item in learning_matrices(window)))
        came = CAME_TO_NOTHING if taken > params.taken else ()
        for name, kind, group in decaying:
            rate, decay = float(group.get("lr") or 0), float(group["weight_decay"])
            if rate * decay * steps > params.constants * ROUNDED:
                yield say(
                    Severity.INFO,
                    f"Group `{name}` decays by λ·η = {rate * decay:.2g} a step: over {steps:,} steps that is "
                    f"{rate * decay * steps:.0f} time constants (limit {params.constants:g})",
                    "Lower weight_decay, or the learning rate, until λ·η·steps is near 1 to 5.",
                    numbers={"lr": rate, "weight_decay": decay, "time_constants": rate * decay * steps},
                    series=(f"lr/{name}",),
                    limit=params.constants,
                    explains=came,
                    aside=not came,
                )
                return
            if rate * decay > params.a_step * ROUNDED and kind not in COUPLED:
                yield say(
                    Severity.INFO,
                    f"Group `{name}` decays by λ·η = {rate * decay:.2g} a step (limit {params.a_step:g}): what the "
                    f"weights learn is forgotten within {1 / (rate * decay):.0f} steps",
                    f"Lower weight_decay from {decay:g}: usual are 0.01 to 0.1 for AdamW, 1e-4 to 5e-4 for SGD.",
                    numbers={"lr": rate, "weight_decay": decay, "a_step": rate * decay},
                    series=(f"lr/{name}",),
                    limit=params.a_step,
                    explains=came,
                    aside=not came,
                )
                return
        coupled = [name for name, kind, _ in decaying if kind in COUPLED]
        if coupled:
            strongest = max(float(group["weight_decay"]) for name, _, group in decaying if name in coupled)
            blamed = came if strongest >= params.strong else ()
            yield say(
                Severity.INFO,
                f"Adam with weight_decay on group `{coupled[0]}` adds an L2 term that Adam rescales for every weight; "
                "AdamW decays the weights themselves",
                "Use AdamW unless the L2 term is meant.",
                strings={"groups": ", ".join(coupled)},
                explains=blamed,
                aside=not blamed,
            )
            return
        names = {name for name, kind, _ in decaying if not kind.upper().startswith(BY_LAYER)}
        flat = [
            item.name for item in parameters(window)
            if item.trainable and len(item.shape) < 2 and names.intersection(item.groups or ())
        ]  # fmt: skip
        if flat:
            whom = f"{len(flat)} biases and norm weights" if len(flat) > 1 else "a bias or norm weight"
            yield say(
                Severity.INFO,
                f"Weight decay pulls on {whom} too: {listed(flat)}",
                "Put parameters of fewer than two dimensions into a group with weight_decay=0.",
                numbers={"parameters": len(flat)},
                aside=True,
            )
            return
        tied = {name for group in window.fact("model").get("tied") or () for name in group}
        looked_up = [
            item.name for item in parameters(window)
            if item.trainable and "Embedding" in item.layer_type and item.name not in tied
            and names.intersection(item.groups or ())
        ]  # fmt: skip
        if looked_up:
            yield say(
                Severity.INFO,
                f"Weight decay pulls on {len(looked_up)} embedding{'s' if len(looked_up) > 1 else ''} too, at every "
                f"step, whether {'their' if len(looked_up) > 1 else 'its'} rows are looked up or not: "
                f"{listed(looked_up)}",
                "Put embeddings into a group with weight_decay=0, or leave it: rows of frequent words hardly notice.",
                numbers={"parameters": len(looked_up)},
                aside=True,
            )
