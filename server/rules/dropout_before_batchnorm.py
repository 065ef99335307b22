"""GW461: dropout upstream of a batch norm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold


class DropoutBeforeBatchnorm(Rule):
    """The run has a dropout whose output reaches a batch norm

    ## What it does
    Follows the graph of the first backward from each dropout to the next batch norm. Nothing but activations between
    them is a warning from p = 0.15 on, where the variance shifts by a quarter behind a ReLU; below, or with a weighted
    layer between, it is an info from p = 0.05 on, which the batch norm's own gap between running and batch statistics,
    in three evaluations at least and beyond that of norms without a dropout before them, raises to a warning. A small
    gap does not lower a warning to an info: it comes with the evaluations, after the warning was told, and a finding
    that is open gets no milder.

    ## Why it matters
    Dropout with keep probability q leaves the mean, but raises the variance to (v + m²)/q − m². Batch norm stores that
    variance in training and uses it in evaluation, where it is v: the layer's output comes out too small by √(q·v/(v +
    m²(1 − q))), 0.64 for p = 0.5 behind a ReLU. The common advice "dropout first, then batch norm" (it would keep the
    norm from leaking statistics) is exactly this arrangement.

    ## What you see in the chart
    Training and validation loss differ from the first epoch on, and more than the data explain.

    ## What to try
    - linear or conv → batch norm → activation → dropout, and no dropout upstream of *any* later batch norm: keep it for
      the classifier behind the last one.
    - `nn.LayerNorm` or `nn.GroupNorm`, which store no statistics; or p ≤ 0.1 in wide nets.

    ## Example
    ```python
    nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.5), nn.BatchNorm1d(64), nn.ReLU())    # wrong
    nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5))    # right, before the last layer
    ```

    ## References
    - Li et al. 2019, *Understanding the Disharmony between Dropout and Batch Normalization by Variance Shift*.
    - 0.05 and ln 1.25 are ours.
    """

    code = "GW461"
    name = "dropout-before-batchnorm"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 4
    chart = "activations"
    tier = "facts"
    clears_after = None
    stage = Stage.REGULARISATION
    exact = True

    @dataclass(frozen=True)
    class Params:
        """Which dropouts count."""

        rate: float = threshold(0.05, unit="p", low=0.0, high=1.0, source="ours: below it the variance hardly shifts")
        surely: float = threshold(
            0.15, unit="p", low=0.0, high=1.0, source="behind a ReLU the variance shifts by ln 1.25 from p = 0.145 on"
        )
        gap: float = threshold(0.223, unit="ln of a variance ratio", low=0.05, high=3.0, source="ours: ln 1.25")
        looks: int = threshold(3, unit="evaluations", low=1, high=100, source="ours: at the first, statistics lag")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the facts `graph` and `batchnorm`."""
        graph = window.fact("graph")
        if not graph:
            yield NotEvaluated("no backward was seen", "loss.backward()  # after watch(model, optimizer)")
            return
        pairs = [item for item in graph.get("dropout_before_norm") or () if isinstance(item, Mapping)]
        pairs = [item for item in pairs if (item.get("p") or 0) >= params.rate]
        direct = [item for item in pairs if not item.get("weighted_between")]
        sure = [item for item in direct if (item.get("p") or 0) >= params.surely]
        if sure:
            yield _verdict(Severity.WARNING, sure[0], "with no weighted layer between")
        elif pairs:
            gaps = window.fact("batchnorm").get("layers") or {}
            usual = _usual(gaps, {str(item.get("norm")) for item in pairs})
            confirmed = next((item for item in pairs if _gap(gaps, item, params.looks) > params.gap + usual), None)
            severity = Severity.WARNING if confirmed is not None else Severity.INFO
            seen = "; its running variance is off by more than 25 %" if confirmed is not None else ""
            told = confirmed or next(iter(direct), pairs[0])
            yield _verdict(severity, told, f"with {'no' if told in direct else 'a'} weighted layer between{seen}")


def _gap(layers: Any, pair: Mapping[str, Any], looks: int) -> float:
    """Gives how far apart a norm's variances in evaluation and its running ones are; 0 while they were compared so few
    times that the running ones may still be those of the start."""
    layer = layers.get(str(pair.get("norm"))) if isinstance(layers, Mapping) else None
    value = layer.get("eval_gap") if isinstance(layer, Mapping) else None
    seen = layer.get("eval_samples") if isinstance(layer, Mapping) else None
    sure = isinstance(seen, int) and seen >= looks
    return float(value) if isinstance(value, (int, float)) and sure else 0.0


def _usual(layers: Any, behind: set[str]) -> float:
    """Gives the largest such gap of the norms that no dropout reaches: what lagging statistics alone make."""
    others = [item for name, item in layers.items() if name not in behind] if isinstance(layers, Mapping) else []
    gaps = [item.get("eval_gap") for item in others if isinstance(item, Mapping)]
    return max((float(gap) for gap in gaps if isinstance(gap, (int, float))), default=0.0)


def _verdict(severity: Severity, pair: Mapping[str, Any], how: str) -> Verdict:
    dropout, norm, rate = str(pair.get("dropout")), str(pair.get("norm")), float(pair.get("p") or 0)
    return say(
        severity,
        f"Dropout `{dropout}` (p = {rate:g}) comes before batch norm `{norm}`, {how}: in evaluation the norm "
        "divides by "
        "a variance that only training has",
        f"Move `{dropout}` behind the last batch norm of the model (before the final layer), or replace `{norm}` by a "
        "LayerNorm or GroupNorm.",
        layers=(dropout, norm),
        numbers={"p": rate},
        limit=0.05,
        explains=("GW434",),
    )
