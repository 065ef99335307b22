"""GW956: a mixture of experts sends nearly everything to a few of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.series import Floats
from server.rules._experts import mixtures, rows_of
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold


class RouterCollapse(Rule):
    """The run has a mixture of experts of which few are used

    ## What it does
    Counts the rows that each expert of a `nn.ModuleList` named "experts" was given in the newest measured steps. One
    expert with more than four times its fair share, or an evenness (entropy of the shares over that of equal ones)
    below a half, is told.

    ## Why it matters
    Experts that get nothing learn nothing: the model pays for parameters that it does not have, and a router that has
    once settled does not come back by itself.

    ## What you see in the chart
    The gradient norms of most experts at zero, those of one or two alive.

    ## What to try
    - A load-balancing loss (the product of each expert's share and its mean router probability, summed, times 0.01).
    - Noise on the router's logits while training, a limit on the rows an expert takes, or a router that chooses by
      expert instead of by token.
    - A smaller initialisation of the router.

    ## Example
    ```python
    share = F.one_hot(chosen, E).float().mean(0)                  # what each expert got
    loss = task + 0.01 * E * (share * probabilities.mean(0)).sum()
    ```

    ## References
    - Shazeer et al. 2017, *Outrageously Large Neural Networks*; Fedus et al. 2021, *Switch Transformers*.
    - Four times the fair share and half of the entropy are ours.
    """

    code = "GW956"
    name = "router-collapse"
    severity = Severity.WARNING
    since = "0.3.0"
    chart = "gradients"
    tier = "facts"
    persistence = (3, 5)
    gates = ("warm_up",)
    stage = Stage.STATISTICS

    @dataclass(frozen=True)
    class Params:
        """How uneven is too uneven."""

        times_fair: float = threshold(
            4.0, unit="times the fair share", low=1.1, high=100.0, relax="down", source="ours: 4/E of the rows"
        )
        evenness: float = threshold(
            0.5,
            unit="entropy of the shares / ln E",
            low=0.05,
            high=0.99,
            relax="up",
            source="ours: √E experts are left",
        )
        settled: int = threshold(20, unit="steps", low=0, high=100_000, source="ours: a router needs a while")
        samples: int = threshold(10, unit="measured steps", low=1, high=1000, source="ours: one batch may be uneven")
        samples_at_end: int = threshold(3, unit="measured steps", low=1, high=1000, source="ours: short runs")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the most uneven mixture of the fact `experts`."""
        known = mixtures(window)
        if not known:
            yield NotEvaluated("the model has no nn.ModuleList of experts", "self.experts = nn.ModuleList(…)")
            return
        samples = params.samples_at_end if window.final else params.samples
        ready = {
            name: rows
            for name, item in known.items()
            if _count(item, "samples") >= samples
            and _count(item, "first_step") >= params.settled
            and (rows := rows_of(item)).sum() > 0
        }
        if not ready:
            yield NotEvaluated(f"{samples} measured steps of the experts after step {params.settled} are needed")
            return
        shares = {name: rows / rows.sum() for name, rows in ready.items()}
        name = min(shares, key=lambda item: _evenness(shares[item]))
        share, evenness = shares[name], _evenness(shares[name])
        count, top = len(share), int(np.argmax(share))
        if not (share[top] > params.times_fair / count or evenness < params.evenness):
            return
        idle = int((share < 0.1 / count).sum())
        yield say(
            Severity.WARNING,
            f"`{name}`: expert {top} of {count} got {percent(float(share[top]))} of the rows (a fair share is "
            f"{percent(1 / count)}), {idle} got less than a tenth of theirs; evenness {evenness:.2f} (limit "
            f"{params.evenness:g})",
            "Add a load-balancing loss to the router (0.01 times E times the sum of share × mean probability), or "
            "noise on its logits; then start anew, for idle experts have not learned.",
            layers=(f"{name}.{top}",),
            numbers={"share": float(share[top]), "evenness": evenness, "idle": idle, "experts": count},
            series=("loss",),
            limit=params.evenness,
            at_once=False,
        )


def _count(item: Mapping[str, object], key: str) -> int:
    value = item.get(key)
    return value if isinstance(value, int) else 0


def _evenness(share: Floats) -> float:
    """Gives the entropy of the shares as a part of that of equal ones."""
    used = share[share > 0]
    return abs(float((used * np.log(used)).sum() / np.log(len(share)))) if len(share) > 1 else 1.0
