"""GW313: layers in a row with no activation between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._layers import parameters
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold


class MissingNonlinearity(Rule):
    """The run has weighted layers in a row with no activation between them

    ## What it does
    Follows the graph of the first backward: two or more weighted operations on one path and not one activation between
    the first and the last of them in the whole model. Pooling, dropout, normalisation and reshaping are no activations.
    Three or more in a row inside a model that has activations elsewhere are an info (bottlenecks may be meant so), and
    so are two whose middle is narrower than both their ends: a matrix of low rank can be written in no other way.

    ## Why it matters
    Linear layers in a row are one linear layer: the model can draw straight lines only, however deep it is.

    ## What you see in the chart
    A loss that learns fast and stops early, at the level of linear regression.

    ## What to try
    - Put `nn.ReLU()` (or GELU, tanh) after each hidden layer.
    - Look into `forward()`: an activation that is made in `__init__` and not called there does nothing.

    ## Example
    ```python
    nn.Sequential(nn.Linear(8, 64), nn.Linear(64, 1))               # wrong: a straight line
    nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))    # right
    ```

    ## References
    - The product of matrices is a matrix.
    - Exact test; one weighted layer in all (linear and logistic regression) is silent.
    """

    code = "GW313"
    name = "missing-nonlinearity"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 3
    chart = "loss"
    tier = "facts"
    clears_after = None
    stage = Stage.OUTPUT
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How long a run must be inside a model with activations."""

        long_run: int = threshold(
            3, unit="weighted layers", low=3, high=100, source="ours: pairs are often meant (LoRA)"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `graph`."""
        graph = window.fact("graph")
        if not graph:
            yield NotEvaluated("no backward was seen", "loss.backward()  # after watch(model, optimizer)")
            return
        if graph.get("truncated"):
            yield NotEvaluated("the graph is too large to be followed to its end")
            return
        runs = [item for item in graph.get("linear_runs") or () if int(item.get("weighted") or 0) >= 2]
        activations = int(graph.get("activations") or 0)
        if not runs:
            return
        longest = max(runs, key=lambda item: int(item["weighted"]))
        count, first, last = int(longest["weighted"]), str(longest.get("first")), str(longest.get("last"))
        alone = activations == 0 and not any(str(op).startswith(_CURVED) for op in _operations(graph))
        rank = _rank(window, first, last) if alone and count == 2 else None
        together = f"together they are one matrix of rank {rank}" if rank else "together they are one linear layer"
        if alone or count >= params.long_run:
            yield say(
                Severity.WARNING if alone and not rank else Severity.INFO,
                f"{count} weighted layers follow each other without an activation, from `{first}` to `{last}`"
                + (f": {together}" if alone else ""),
                f"Put an activation behind each hidden layer, for example nn.ReLU() after `{first}`; look whether "
                "one is "
                "made in __init__ but not called in forward().",
                layers=(first, last),
                numbers={"weighted": count, "activations": activations},
                series=("loss",),
                limit=1.0,
            )


def _rank(window: Window, first: str, last: str) -> int | None:
    """Gives the width between two layers where it is smaller than what comes in and what goes out."""
    shapes = {item.layer: item.shape for item in parameters(window) if len(item.shape) == 2}
    if first not in shapes or last not in shapes:
        return None
    (middle, inputs), outputs = shapes[first], shapes[last][0]
    return middle if middle < min(inputs, outputs) else None


_CURVED = ("Exp", "Sin", "Cos", "Pow", "Rnn", "Lstm", "Gru", "ScaledDotProduct")


def _operations(graph: object) -> list[object]:
    """Lists what comes before the last weighted operation: what follows may be the loss."""
    sequence = graph.get("sequence") if hasattr(graph, "get") else None
    items = [item for item in sequence or () if hasattr(item, "get")]
    last = max((at for at, item in enumerate(items) if item.get("kind") == "weighted"), default=len(items))
    return [item.get("op") for item in items[:last]]
