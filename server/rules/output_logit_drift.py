"""GW952: the logits as a whole drift away from zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.statistics import med
from server.rules._loss_call import CROSS_ENTROPIES, LossCall, call_operations, loss_call
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

RECENT = 25  # losses
NORMALISING = ("Softmax", "LogSoftmax", "Logsumexp", "NllLoss", "CrossEntropy")


class OutputLogitDrift(Rule):
    """The run has logits that drift away from zero

    ## What it does
    Follows log Z, the logarithm of the sum of the exponentiated logits: more than 20 away from its value at the end of
    the warm-up, and still moving, is a warning. Outputs that no softmax reads (quantiles, vectors that are compared by
    their direction) are no logits, and may be of any size. What comes
    nearer to 0 is on its way back. It is a remark while the loss is next to nothing: where all samples are told apart,
    the scores of the right classes grow without end.

    ## Why it matters
    A softmax does not care about a common shift, so nothing holds it; in half precision the differences drown in it.

    ## What you see in the chart
    Nothing in the loss, until it jumps.

    ## What to try
    - z-loss: add 1e-4·(log Z)² to the loss.
    - Weight decay on the last layer; no bias there.

    ## Example
    ```python
    loss = F.cross_entropy(logits, y) + 1e-4 * logits.logsumexp(-1).square().mean()
    ```

    ## References
    - Chowdhery et al. 2022, *PaLM*: z-loss; Wortsman et al. 2023.
    - Soudry et al. 2018, *The Implicit Bias of Gradient Descent on Separable Data*: why margins grow.
    - 20 and 0.1 are ours.
    """

    code = "GW952"
    name = "output-logit-drift"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 2
    chart = "loss"
    tier = "facts"
    clears_after = 3
    gates = ("warm_up", "moving_target")
    stage = Stage.SYMPTOM

    @dataclass(frozen=True)
    class Params:
        """How far is far."""

        drift: float = threshold(20.0, unit="of log Z", low=2.0, high=1000.0, source="ours")
        certain: float = threshold(0.1, unit="of the loss", low=0.0, high=1.0, source="ours: 90 % for the right class")
        samples: int = threshold(24, unit="samples", low=8, high=64, source="ours: a start and a trend")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `outputs`."""
        call = loss_call(window)
        if call is not None and call.function not in CROSS_ENTROPIES:
            yield NotEvaluated(f"{call.function} takes no logits of several classes")
            return
        if call is None and not _read_by_a_softmax(window):
            yield NotEvaluated("no softmax reads the outputs")
            return
        seen = False
        for item in window.fact("outputs").values():
            if call is not None and not _are_scores(item, call):
                continue  # the scores are made of them, as of vectors that are compared
            pairs = item.get("log_z") if isinstance(item, Mapping) else None
            known = [(int(step), float(value)) for step, value in pairs or () if value is not None]
            if len(known) < params.samples:
                continue
            seen = True
            tenth = max(2, len(known) // 10)
            start = sorted(value for _, value in known[tenth : 2 * tenth + 1])[tenth // 2]
            now = sorted(value for _, value in known[-5:])[2]
            before = sorted(value for _, value in known[-15:-10])[2]
            away = abs(now) > abs(start)
            if away and abs(now - start) > params.drift and abs(now - before) > 0.05 * abs(now - start):
                certain = now > start and med(window.loss.tail(RECENT)) < params.certain
                yield say(
                    Severity.INFO if certain else Severity.WARNING,
                    f"log Z of the outputs drifted from {start:.3g} to {now:.3g} and goes on",
                    "Add a z-loss, 1e-4 * logits.logsumexp(-1)**2, or weight decay on the last layer.",
                    step=known[tenth][0],
                    numbers={"start": start, "now": now},
                    series=("loss",),
                    limit=params.drift,
                )
                return
        if not seen:
            yield NotEvaluated(f"{params.samples} samples of the outputs of several classes are needed")


def _read_by_a_softmax(window: Window) -> bool:
    """Says whether a loss of one's own normalises its scores; also where nobody saw what it does."""
    operations = call_operations(window)
    return not operations or any(name.startswith(NORMALISING) for name in operations)


def _are_scores(item: Any, call: LossCall) -> bool:
    """Says whether outputs hold as many scores as the loss has classes, as far as both were seen."""
    shape = list(item.get("shape") or ()) if isinstance(item, Mapping) else []
    return not shape or call.classes is None or call.classes in shape[1:]
