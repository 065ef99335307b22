"""GW462: a dropout that drops nearly everything, or sits on the logits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._layers import layers, listed
from server.rules._progress import loss_quarters, still_falling
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold


class DropoutRate(Rule):
    """The run has a dropout that drops too much, or the answer itself

    ## What it does
    Reads p of the dropout layers: 1 is an error (nothing passes), 0.8 and more a warning (keep and drop probability are
    easily confused), above 0.5 an info. A dropout behind the last weighted layer, right on the logits, is a warning.
    At the end of a run, dropout in a model that underfits is an info: the training loss is still above half of where it
    began, falls no more, and the validation loss is the same.

    ## Why it matters
    p is the share that is *dropped* in PyTorch. On the logits it sets whole classes to 0 at random.

    ## What you see in the chart
    A training loss far above the validation loss, which does not come down.

    ## What to try
    - p between 0.1 and 0.5; with batch norm often none is needed.
    - Put it before the last layer, not behind it.

    ## Example
    ```python
    nn.Dropout(0.9)      # wrong if 90 % should be kept
    nn.Dropout(0.1)      # right
    ```

    ## References
    - Srivastava et al. 2014, *Dropout*: p = 0.5 for hidden units.
    - 0.5 as UMLAUT; 0.8 is ours.
    """

    code = "GW462"
    name = "dropout-rate"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 2
    chart = "activations"
    tier = "facts"
    clears_after = None
    stage = Stage.REGULARISATION
    exact = True

    @dataclass(frozen=True)
    class Params:
        """Which rates are unlikely to be meant."""

        high: float = threshold(0.5, unit="p", low=0.1, high=1.0, source="UMLAUT")
        some: float = threshold(0.2, unit="p", low=0.01, high=1.0, source="ours: less takes little from a model")
        high_loss: float = threshold(0.5, unit="of the first losses", low=0.0, high=1.0, source="ours: much is left")
        alike: float = threshold(0.1, unit="of the loss", low=0.0, high=1.0, source="ours: nothing to regularise")
        evaluations: int = threshold(3, unit="evaluations", low=1, high=100, source="ours")
        extreme: float = threshold(0.8, unit="p", low=0.5, high=1.0, source="ours: keep and drop are confused")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the facts `model` and `graph`."""
        known = layers(window)
        if not known:
            yield NotEvaluated("the layers of the model are not known", "monitor = watch(model, optimizer)")
            return
        rates = {
            str(item["name"]): float((item.get("arguments") or {}).get("p") or 0)
            for item in known
            if "Dropout" in str(item.get("type"))
        }
        total = [name for name, rate in rates.items() if rate >= 1]
        extreme = [name for name, rate in rates.items() if params.extreme <= rate < 1]
        high = [name for name, rate in rates.items() if params.high < rate < params.extreme]
        last = _on_logits(window, rates)
        if total:
            yield _say(Severity.ERROR, total, rates, "drops everything: nothing passes and no gradient comes back", 1.0)
        elif extreme:
            yield _say(Severity.WARNING, extreme, rates, "is the share that is dropped, not kept", params.extreme)
        elif last:
            yield _say(Severity.WARNING, [last], rates, "acts on the outputs themselves, behind the last layer", 0.0)
        elif high:
            yield _say(Severity.INFO, high, rates, "is high", params.high)
        elif (least := [name for name, rate in rates.items() if rate >= params.some]) and _underfits(window, params):
            yield _say(
                Severity.INFO, least, rates, "is taken from a model that underfits: its training loss is as high as "
                "that of the validation, above half of where it began, and falls no more", params.some, fact=False,
            )  # fmt: skip


def _underfits(window: Window, params: DropoutRate.Params) -> bool:
    """Says whether training and validation end alike, and far from a fit."""
    parts = loss_quarters(window) if window.final else None
    held_out = window.series(f"{Kind.VALIDATION.value}loss")
    if parts is None or held_out.count < params.evaluations or parts.start <= 0:
        return False
    val = float(np.median(held_out.tail(3)))
    stands = not still_falling(parts, window.loss.values)
    return stands and parts.q4 > params.high_loss * parts.start and abs(val - parts.q4) <= params.alike * parts.q4


def _on_logits(window: Window, rates: dict[str, float]) -> str | None:
    """Finds a dropout that no layer and no norm follows on the way to the loss."""
    sequence = [item for item in window.fact("graph").get("sequence") or () if hasattr(item, "get")]
    inner = [item for item in sequence if item.get("kind") in ("weighted", "activation", "norm", "dropout", "pool")]
    weighted = [index for index, item in enumerate(inner) if item.get("kind") == "weighted"]
    if not weighted or window.fact("graph").get("truncated") or len(sequence) >= 500:
        return None
    after = inner[weighted[-1] + 1 :]
    if not after or after[0].get("kind") != "dropout" or any(item.get("kind") == "norm" for item in after):
        return None  # what a norm reads is no answer yet: the end of a block, of which scores are made
    name = str(after[0].get("layer"))
    last = window.fact("loss_call").get("last_layer")
    return name if rates.get(name) and last in (None, name) else None


def _say(
    severity: Severity, names: list[str], rates: dict[str, float], what: str, limit: float, *, fact: bool = True
) -> Verdict:
    rate = rates[names[0]]
    others = f" (and of {listed(names[1:])})" if len(names) > 1 else ""
    return say(
        severity,
        f"The p = {rate:g} of dropout `{names[0]}`{others} {what}",
        "Use p between 0.1 and 0.5, before the last layer; p is the share that is set to zero.",
        layers=names,
        numbers={"p": rate, "layers": len(names)},
        limit=limit,
        exact=None if fact else False,
        stage=None if fact else Stage.SYMPTOM,
    )
