"""GW310: the signal grows or fades by orders of magnitude, with depth or over time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med
from server.rules._layers import Parameter, layers, learning_matrices, parameters
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

PLAIN = ("Linear", "Conv1d", "Conv2d", "Conv3d")


class ActivationScaleDrift(Rule):
    """The run has a signal that explodes or fades from layer to layer

    ## What it does
    In models without normalisation and residual sums it compares, in the first samples, the outputs of the weighted
    layers in the order of the forward: the last a thousand times larger or smaller than the first, or one layer 30
    times larger than the one before it (what enters a layer is not measured, so its gain is read between the
    outputs of two layers, the activation in between included). Later, in any model, a layer whose outputs grew
    tenfold since the warm-up, 500 steps or more ago, and are still growing; not an embedding, not a layer of one
    output, whose scale is that of its targets, and not the last layer, whose logits grow as the model learns.
    Warnings.

    ## Why it matters
    What fades does not reach the loss; what explodes ends in NaN. Both are set by the start.

    ## What you see in the chart
    The standard deviations of the layers form a staircase.

    ## What to try
    - `kaiming_normal_` for ReLU, `xavier_uniform_` for tanh.
    - Normalisation between layers; residual branches scaled by 1/√(2·depth).

    ## Example
    ```python
    nn.init.normal_(layer.weight, std=0.01)     # wrong in a plain deep net: each layer shrinks the signal
    nn.init.kaiming_normal_(layer.weight)       # right
    ```

    ## References
    - He et al. 2015; Hanin & Rolnick 2018, *How to Start Training*.
    - 1,000 and 30 are ours: unlike layers of a transformer differ by 20 in health, so they are not compared.
    """

    code = "GW310"
    name = "activation-scale-drift"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 5
    needs = (Kind.ACT_STD,)
    chart = "activations"
    tier = "layers"
    clock = "sample"
    persistence = (3, 5)
    clears_after = 20
    whole_run = True
    stage = Stage.FIRST_SIGNAL
    levels = {"first": "first layer", "last": "last layer", "early": "after the warm-up"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How far apart."""

        product: float = threshold(1e3, unit="times, first to last", low=10.0, high=1e9, source="ours")
        gain: float = threshold(
            30.0, unit="times, layer to layer", low=3.0, high=1e6, source="ours: gain 5 is bad-init"
        )
        growth: float = threshold(10.0, unit="times since the warm-up", low=2.0, high=1e6, relax="down", source="ours")
        depth: int = threshold(4, unit="weighted layers", low=2, high=100, source="ours: less is no depth")
        samples: int = threshold(60, unit="samples", low=20, high=10_000, source="ours: a start and a trend")
        steps: int = threshold(
            500, unit="steps", low=20, high=1_000_000, source="ours: most layers grow at first, from a small start"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Compares layers at the start, then each layer with its own past."""
        stds = window.by_layer(Kind.ACT_STD)
        chain = _chain(window)
        if len(chain) >= params.depth:
            first = [float(stds[name].values[0]) if stds.get(name) else np.nan for name in chain]  # before any update
            verdict = _with_depth(chain, first, params)
            if verdict is not None:
                yield verdict
                return
        verdict = None if window.gates.warm_up else _over_time(window, params)
        if verdict is not None:
            yield verdict
        elif len(chain) < params.depth and all(item.count < params.samples for item in stds.values()):
            yield NotEvaluated("the layers are not one plain chain, and there are too few samples to see a trend")


def _chain(window: Window) -> list[str]:
    """Lists the weighted layers of a model that is a plain chain; empty where norms or branches make them unlike."""
    graph = window.fact("graph")
    known = layers(window)
    if window.fact("model").get("normalised") or graph.get("truncated") or not graph.get("sequence"):
        return []
    if any("Norm" in str(item.get("type")) for item in known):
        return []
    places = [at for at, item in enumerate(graph["sequence"]) if item.get("kind") == "weighted"]
    inside = graph["sequence"][: places[-1]] if places else []
    if any(str(item.get("op")).startswith(("MulBackward", "DivBackward")) for item in inside):
        return []  # a gate: what its layers make is a factor of the rest, and stands in no row with it
    weighted = [str(graph["sequence"][at].get("layer")) for at in places]
    kinds = {str(item.get("name")): str(item.get("type")) for item in known}
    if any(kinds.get(name) not in PLAIN for name in weighted) or len(set(weighted)) != len(weighted):
        return []
    learning = {item.layer: item for item in learning_matrices(window)}
    chain = [name for name in weighted if name in learning]
    both = [pair for pair in pairwise(chain) if kinds[pair[0]] == kinds[pair[1]] == "Linear"]
    if not all(_feeds(learning[one], learning[other]) for one, other in both):
        return []
    return chain[:-1]  # the head is made small on purpose


def _feeds(one: Parameter, other: Parameter) -> bool:
    """Says whether a linear layer takes what another gives; where it does not, another branch begins."""
    return one.shape[0] == other.shape[1]


def _with_depth(chain: list[str], stds: list[float], params: ActivationScaleDrift.Params) -> Verdict | None:
    values = np.asarray(stds)
    if not np.isfinite(values).all() or (values <= 0).any():
        return None
    ratio = values[-1] / values[0]
    gains = values[1:] / values[:-1]
    jump = int(np.argmax(np.abs(np.log(gains))))
    steep = max(gains[jump], 1 / gains[jump])
    if 1 / params.product < ratio < params.product and steep < params.gain:
        return None
    word = "grows" if ratio > 1 else "fades"
    return say(
        Severity.WARNING,
        f"At the start the signal {word} with depth: the standard deviation is {values[0]:.3g} behind `{chain[0]}` and "
        f"{values[-1]:.3g} behind `{chain[-1]}`, the largest change at `{chain[jump + 1]}` ({gains[jump]:.3g} times)",
        "Initialise with kaiming_normal_ (ReLU) or xavier_uniform_ (tanh), or put a normalisation between the layers.",
        layers=(chain[0], chain[jump + 1], chain[-1]),
        numbers={"first": float(values[0]), "last": float(values[-1]), "ratio": float(ratio), "layers": len(chain)},
        series=(f"act/std/{chain[0]}", f"act/std/{chain[-1]}"),
        limit=params.product,
        at_once=False,
    )


def _heads(window: Window) -> set[str]:
    """Names the layers whose outputs may grow: the last ones, whose logits grow as the model learns, those that give
    one number, such as what each of several critics expects, and embeddings."""
    known = layers(window)
    apart = {str(item.get("name")) for item in known if "Embedding" in str(item.get("type"))}
    apart |= {item.layer for item in parameters(window) if len(item.shape) == 2 and item.shape[0] == 1}
    called = [item for item in known if item.get("order") is not None and item.get("parameters")]
    if called:
        head = max(int(item["order"]) for item in called)
        # what is called after the head (an identity, a reshape) passes its outputs on
        apart |= {str(item.get("name")) for item in known if int(item.get("order") or 0) >= head}
    for item in reversed(window.fact("graph").get("sequence") or []):
        if item.get("kind") != "weighted":
            break
        apart.add(str(item.get("layer")))
    return apart


def _from_zero(window: Window) -> set[str]:
    """Names the layers whose weight starts at 0 (the last norm of a residual branch): any output is a growth there."""
    items = [item for item in window.fact("model").get("parameters") or () if item.get("absmax") == 0]
    return {str(item.get("layer")) for item in items if str(item.get("name")).endswith("weight")}


def _over_time(window: Window, params: ActivationScaleDrift.Params) -> Verdict | None:
    worst: tuple[float, str, float, float] | None = None
    apart = window.lasting("layers that may grow", lambda: _heads(window) | _from_zero(window))
    for name, series in window.by_layer(Kind.ACT_STD).items():
        if series.count < params.samples or series.steps[-1] - series.steps[0] < params.steps or name in apart:
            continue
        values = series.values
        early = med(values[series.count // 10 : series.count // 10 + 10])
        now, before = med(values[-10:]), med(values[-30:-20])
        grown = early > 0 and now > params.growth * early and now > 1.1 * before
        if grown and (worst is None or now / early > worst[0]):
            worst = (now / early, name, early, now)
    if worst is None:
        return None
    factor, name, early, now = worst
    losses = window.loss.values
    learned = len(losses) > 20 and med(losses[-10:]) < 0.5 * med(losses[:10])  # growth that serves its purpose
    return say(
        Severity.INFO if learned else Severity.WARNING,
        f"The outputs of `{name}` grew {factor:.0f} times since the warm-up (standard deviation {early:.3g} to "
        f"{now:.3g}) "
        "and still grow",
        f"Put a normalisation before or behind `{name}`, add weight decay, or lower the learning rate.",
        step=int(window.series(f"act/std/{name}").steps[0]),
        layers=(name,),
        numbers={"early": early, "now": now, "factor": factor},
        series=(f"act/std/{name}",),
        limit=params.growth,
        at_once=False,
        stage=Stage.STATISTICS,  # the optimizer drove it there: what explains that comes first
    )
