"""GW442: a momentum that is missing, extreme or swapped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._layers import groups, optimizers
from server.rules._progress import loss_quarters, still_falling
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold


class MomentumUnusual(Rule):
    """The run has a momentum that is missing, extreme or swapped

    ## What it does
    Reads the optimizers' settings: betas of Adam in the wrong order (β2 < β1) are a warning; a momentum of 0.99 and
    more with a learning rate of 0.01 and more is a warning, because the effective rate is η/(1 − μ); SGD without
    momentum is an info.

    ## Why it matters
    Momentum 0.9 walks along a valley up to ten times as fast as plain SGD. At 0.99 the same learning rate is ten times
    as large as at 0.9.

    ## What you see in the chart
    Without momentum a loss that creeps; with too much one that swings in long waves.

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
    - The limits are ours. Plain SGD is a sound choice where the run gets there; so it stays an info.
    """

    code = "GW442"
    name = "momentum-unusual"
    severity = Severity.WARNING
    since = "0.2.0"
    chart = "learning-rate"
    tier = "facts"
    clears_after = 5
    stage = Stage.STARVED

    @dataclass(frozen=True)
    class Params:
        """What is unusual."""

        high: float = threshold(0.99, unit="momentum", low=0.9, high=1.0, source="ours: effective rate 100 times lr")
        rate: float = threshold(0.01, unit="learning rate", low=1e-6, high=10.0, source="ours: usual with momentum 0.9")

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
                )
                return
            if momentum >= params.high and rate >= params.rate:
                yield say(
                    Severity.WARNING,
                    f"Group `{name}` has momentum {momentum:g} and learning rate {rate:g}: in effect a rate of "
                    f"{rate / max(1 - momentum, 1e-6):.3g}",
                    "Use momentum=0.9, or divide the learning rate as 1 − momentum falls.",
                    numbers={"momentum": momentum, "lr": rate},
                    limit=params.high,
                )
                return
        plain = [name for name, kind, group in groups(window) if kind == "SGD" and not group.get("momentum")]
        if plain:
            parts = loss_quarters(window) if window.final else None
            creeping = parts is not None and still_falling(parts, window.loss.values)
            yield say(
                Severity.INFO,
                f"SGD of group `{plain[0]}` has no momentum"
                + (" and the loss still falls at the end" if creeping else ""),
                "momentum=0.9 goes up to ten times as far along a valley; keep the learning rate or lower it a little.",
                strings={"groups": ", ".join(plain)},
            )
