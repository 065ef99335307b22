"""GW442: a momentum that is missing, extreme or swapped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._layers import groups, optimizers
from server.rules._progress import loss_quarters, still_falling
from server.rules._rates import medians, path_length
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

USUAL = 0.9


class MomentumUnusual(Rule):
    """The run has a momentum that is missing, extreme or swapped

    ## What it does
    Reads the optimizers' settings: betas of Adam in the wrong order (β2 < β1) are a warning; a momentum of 0.99 and
    more is one where the effective rate η/(1 − μ) is above 5; both explain what the run shows later. So is one where
    it is above 1 and the whole run shorter than 5 times the 1/(1 − μ) steps for which a gradient pushes on: what the
    start pushed never comes to rest. SGD without
    momentum is an info, and a warning where the run is still falling at its end and moved the same way in each of the
    last five epochs (the cosine between the weights' displacements of two epochs is above 0.7).

    ## Why it matters
    Momentum 0.9 walks along a valley up to ten times as fast as plain SGD. At 0.99 the same learning rate is ten times
    as large as at 0.9.

    ## What you see in the chart
    Without momentum a loss that creeps, and cosines between epochs near 1; with too much one that swings in long waves.

    ## What to try
    - SGD: `momentum=0.9` (0.8 to 0.95); when you raise it, lower the learning rate like 1 − μ.
    - Adam: `betas=(0.9, 0.999)`.

    ## Example
    ```python
    Adam(model.parameters(), betas=(0.999, 0.9))      # wrong: swapped
    Adam(model.parameters(), betas=(0.9, 0.999))      # right
    ```

    ## References
    - Sutskever et al. 2013, *On the importance of initialization and momentum in deep learning*.
    - Goh 2017, *Why Momentum Really Works*: the effective rate η/(1 − μ).
    - Isensee et al. 2021, *nnU-Net*: trains well with momentum 0.99 and rate 0.01, an effective rate of 1.
    - The limits are ours. Plain SGD is a sound choice where the run gets there; so it stays an info.
    """

    code = "GW442"
    name = "momentum-unusual"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 5
    chart = "learning-rate"
    tier = "facts"
    clears_after = 5
    stage = Stage.STARVED
    levels = {"cosine": "least cosine", "the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """What is unusual."""

        high: float = threshold(0.99, unit="momentum", low=0.9, high=1.0, source="ours: effective rate 100 times lr")
        cosine: float = threshold(
            0.7,
            unit="cosine between two epochs",
            low=0.0,
            high=1.0,
            source="ours: within 45 degrees; noise is not",
        )
        epochs: int = threshold(5, unit="epochs in a row", low=2, high=1000, source="ours: no chance repeats so")
        high_loss: float = threshold(
            0.5, unit="of the first losses", low=0.0, high=1.0, source="ours: much is left to gain"
        )
        path: float = threshold(
            0.1, unit="of the weights", low=0.0, high=10.0, source="below it the rate is to blame, not the momentum"
        )
        effective_rate: float = threshold(
            5.0, unit="lr / (1 - momentum)", low=0.1, high=1000.0, source="ours: five times that of usual recipes"
        )

        published: float = threshold(
            1.0, unit="lr / (1 - momentum)", low=0.1, high=1000.0, source="nnU-Net's, the largest that is published"
        )
        horizons: float = threshold(
            5.0, unit="times 1 / (1 - momentum), in steps", low=1.0, high=100.0, source="ours: e^-5 is left of a push"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `optimizers`."""
        if not optimizers(window):
            yield NotEvaluated("the optimizers are not known", "monitor = watch(model, optimizer)")
            return
        for name, _, group in groups(window):
            betas = group.get("betas")
            momentum, rate = float(group.get("momentum") or 0.0), float(group.get("lr") or 0.0)
            if isinstance(betas, (list, tuple)) and len(betas) == 2 and betas[1] < betas[0]:
                yield say(
                    Severity.WARNING,
                    f"The betas of group `{name}` are ({betas[0]:g}, {betas[1]:g}): the second is the smaller "
                    "one, they "
                    "seem to be swapped",
                    "Write betas=(0.9, 0.999).",
                    numbers={"beta1": betas[0], "beta2": betas[1]},
                    stage=Stage.OPTIMISER,
                    exact=True,
                )
                return
            effective = rate / max(1.0 - momentum, 1e-6)
            if (verdict := _outlasts(window, name, momentum, rate, params)) is not None:
                yield verdict
                return
            if momentum >= params.high and effective > params.effective_rate:
                yield say(
                    Severity.WARNING,
                    f"Group `{name}` has momentum {momentum:g} and learning rate {rate:g}: in effect a rate of "
                    f"{effective:.3g}",
                    _usual_momentum(momentum, rate),
                    numbers={"momentum": momentum, "lr": rate, "effective_rate": effective},
                    limit=params.effective_rate,
                    stage=Stage.OPTIMISER,
                    exact=True,
                )
                return
        plain = [name for name, kind, group in groups(window) if kind == "SGD" and not group.get("momentum")]
        if plain:
            yield _without(window, plain, params)


def _outlasts(
    window: Window, name: str, momentum: float, rate: float, params: MomentumUnusual.Params
) -> Verdict | None:
    """Finds a momentum whose memory is a large part of the whole run, at a rate above all that is published."""
    effective, total = rate / max(1.0 - momentum, 1e-6), window.samples if window.final else window.planned or 0
    horizons = total * (1.0 - momentum)
    if momentum < params.high or effective <= params.published or not 0 < horizons < params.horizons:
        return None
    return say(
        Severity.WARNING,
        f"Group `{name}` has momentum {momentum:g}: each gradient pushes on for {1 / (1 - momentum):,.0f} steps, in a "
        f"run of {total:,}, and with learning rate {rate:g} it makes in effect a rate of {effective:.3g}",
        f"{_usual_momentum(momentum, rate)} 0.99 is for runs of many thousands of steps.",
        numbers={"momentum": momentum, "lr": rate, "effective_rate": effective, "horizons": horizons},
        limit=params.horizons,
        stage=Stage.OPTIMISER,
        exact=False,
    )


def _usual_momentum(momentum: float, rate: float) -> str:
    usual = rate * (1.0 - momentum) / (1.0 - USUAL)
    return (
        f"Use momentum={USUAL:g}, or a learning rate of {usual:.2g}: with a momentum of {momentum:g} its steps add up "
        "to as much."
    )


def _without(window: Window, plain: Sequence[str], params: MomentumUnusual.Params) -> Verdict:
    """Tells of plain SGD: a warning where its walk was straight, slow and not at its end."""
    parts = loss_quarters(window) if window.final else None
    creeping = parts is not None and still_falling(parts, window.loss.values)
    several = len(optimizers(window)) > 1
    keys = {name.partition(".")[0] for name in plain} if several else set(window.by_layer(Kind.DISPLACEMENT))
    straight = [
        (key, float(series.tail(params.epochs).min()))
        for key, series in window.by_layer(Kind.DISPLACEMENT).items()
        if key in keys and series.count >= params.epochs and bool(np.all(series.tail(params.epochs) > params.cosine))
    ]
    said = f"SGD of group `{plain[0]}` has no momentum" + (" and the loss still falls at the end" if creeping else "")
    advice = "momentum=0.9 goes up to ten times as far along a valley; keep the learning rate or lower it a little."
    if not (creeping and straight and parts is not None and parts.q4 > params.high_loss * abs(parts.start)):
        return say(Severity.INFO, said, advice, strings={"groups": ", ".join(plain)}, exact=None if creeping else True)
    steps, ratios = medians(window)
    path = path_length(window, steps, ratios) if len(ratios) else math.inf
    if path < params.path:
        return say(Severity.INFO, said, advice, strings={"groups": ", ".join(plain)})
    key, least = min(straight, key=lambda item: item[1])
    name = f"{Kind.DISPLACEMENT.value}{key}"
    return say(
        Severity.WARNING,
        f"{said} ({parts.start:.4g} to {parts.q4:.4g}); in each of the last {params.epochs} epochs the weights went on "
        f"the way of the epoch before (cosine at least {least:.2f}, limit {params.cosine:g})",
        advice,
        step=int(window.series(name).steps[-params.epochs]),
        numbers={"cosine": least, "epochs": params.epochs, **parts.as_numbers()},
        strings={"groups": ", ".join(plain)},
        series=(name, "loss"),
        limit=params.cosine,
    )
