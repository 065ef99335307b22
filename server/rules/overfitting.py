"""GW801: the validation loss has passed its minimum while the training loss still falls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med
from server.rules._loss_call import CROSS_ENTROPIES, entropy, loss_call
from server.rules._say import percent, say
from server.rules._validation import Evaluations, beats_the_commonest, evaluations, far_off, rising_metric
from server.rules.base import Rule, Stage, threshold

NEVER = 0.98  # of the entropy of the labels: above it validation never learned anything

SURELY_WORSE = 0.05  # of a metric between 0 and 1: more than a row of a small set


class Overfitting(Rule):
    """The run has a validation loss that rises while the training loss falls

    ## What it does
    Compares the median of the newest evaluations with the best median of three before them. A rise of more than 5 %
    and 3 sigmas of an evaluation (10 % with fewer than 10 evaluations), while the training loss fell on, counts. It
    is a warning where the validation loss is above 3 times the training loss, rose by half, or a metric got worse
    too, and where the rise gave back more than 5 % of what the validation had gained; else an info: with few
    positives or hard labels the loss creeps up by 10 to 30 % in good models, and near zero 10 % are nothing.

    It is an info, too, where a cross-entropy is still below a quarter of the entropy of the labels and no metric fell
    by more than 0.05: few rows are wrong, and told ever more surely. A metric that got better is excuse enough below
    half a rise, except where a classification is known by heart: a training loss below 0.1 % of the entropy of the
    labels beside a validation loss above half of it.

    ## Why it matters
    From there on the model learns the training set by heart. The checkpoint that you want is behind you.

    ## What you see in the chart
    Two curves that part: training down, validation up.

    ## What to try
    - Keep the checkpoint of the best evaluation; stop there (early stopping).
    - More data or augmentation, weight decay, dropout after the last batch norm, a smaller model.

    ## Example
    ```python
    if val_loss < best: best = val_loss; torch.save(model.state_dict(), "best.pt")
    ```

    ## References
    - Prechelt 1998, *Early Stopping — But When?*
    - 5 % and 3 sigmas are ours: at most 1 % of simulated healthy runs of 60 evaluations. A gap between training and
      validation alone is no fault.
    """

    code = "GW801"
    name = "overfitting"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 4
    needs = (Kind.VALIDATION, Kind.LOSS)
    chart = "loss"
    clears_after = 20
    gates = ("moving_target",)
    whole_run = True
    stage = Stage.STATISTICS
    levels = {"best": "best", "the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How far past the minimum."""

        evaluations: int = threshold(6, unit="evaluations", low=4, high=1000, source="ours: short programs have few")
        many: int = threshold(10, unit="evaluations", low=6, high=1000, source="ours: from here on the noise is known")
        rise: float = threshold(0.05, unit="of the best", low=0.005, high=1.0, relax="down", source="ours")
        rise_few: float = threshold(0.1, unit="of the best", low=0.01, high=1.0, relax="down", source="ours")
        sigmas: float = threshold(3.0, unit="sigmas of an evaluation", low=1.0, high=10.0, source="ours, by simulation")
        gap: float = threshold(
            3.0, unit="times the training loss", low=1.1, high=100.0, source="ours: learned by heart"
        )
        large: float = threshold(0.5, unit="of the best", low=0.1, high=10.0, source="ours: no creep")
        returned: float = threshold(
            0.05, unit="of the gain", low=0.0, high=1.0, relax="down", source="ours: less is nothing near zero"
        )
        heart: float = threshold(
            0.001, unit="of the entropy of the labels", low=1e-6, high=0.1, source="ours: nothing is left to learn"
        )
        doubt: float = threshold(
            0.5, unit="of the entropy of the labels", low=0.1, high=1.0, source="ours: half of what a guess gets"
        )
        small: float = threshold(
            0.25,
            unit="of the entropy of the labels",
            low=0.0,
            high=1.0,
            relax="down",
            source="ours: a few sure mistakes",
        )
        training: float = threshold(0.01, unit="of the training loss", low=0.0, high=1.0, source="ours: it still falls")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the evaluations so far."""
        found = evaluations(window)
        if found is None or len(found) < params.evaluations:
            yield NotEvaluated(
                f"{params.evaluations} validation losses are needed, {len(found) if found else 0} are in",
                "monitor.validation(loss)",
            )
            return
        many = len(found) >= params.many
        width = 5 if many else 3
        best_at, best = _best(found, width)
        now = med(found.values[-width:])
        sigmas = params.sigmas if found.noise <= 0.05 * abs(best) else params.sigmas + 1
        limit = best + max((params.rise if many else params.rise_few) * abs(best), sigmas * found.noise)
        fell = found.training[best_at] - med(found.training[-width:])
        if _never_better_than_chance(window, found, best):
            return  # GW112 says more at the end
        if not now > limit or not fell > params.training * abs(found.training[best_at]):
            return
        training = med(found.training[-width:])
        metric = _metric_change(window, int(found.steps[best_at]), width)
        worse = metric is not None and metric[1] < -0.02
        surely_worse = metric is not None and metric[1] < -SURELY_WORSE
        improved = metric is not None and metric[1] > 0.01 and now < (1 + params.large) * best
        improved = improved and not _by_heart(window, now, training, params)
        bad = not improved and (now > params.gap * training or now > best + params.large * abs(best) or worse)
        gained = max(0.0, float(found.values[0]) - best) if np.isfinite(found.values[0]) else 0.0
        bad = bad and now - best > params.returned * gained and (surely_worse or not _small(window, now, params))
        step = int(found.steps[best_at])
        seen = f"; {metric[0]} changed by {metric[1]:+.3g}" if metric else ""
        yield say(
            Severity.WARNING if bad else Severity.INFO,
            f"The validation loss was best around step {step} ({best:.4g}, median of three) and is {now:.4g} now, "
            f"{percent((now - best) / abs(best)) if best else 'well'} above, while the training loss fell from "
            f"{found.training[best_at]:.4g} to {training:.4g}{seen}",
            f"Go back to the checkpoint near step {step} and stop there; for more, use augmentation, more data, weight "
            "decay, or dropout before the last layer.",
            step=step,
            numbers={"best": best, "now": now, "training": training, "evaluations": len(found)},
            series=("val/loss", "loss"),
            limit=limit,
            at_once=False,
        )


def _by_heart(window: Window, now: float, training: float, params: Overfitting.Params) -> bool:
    """Says whether the training labels are known for sure, and those of the validation hardly so."""
    chance = _chance(window)
    return chance is not None and training < params.heart * chance and now > params.doubt * chance


def _small(window: Window, now: float, params: Overfitting.Params) -> bool:
    """Says whether nearly all is still told right and surely: a rise is then the few mistakes, ever more sure."""
    chance = _chance(window)
    return chance is not None and now < params.small * chance


def _chance(window: Window) -> float | None:
    """Gives the entropy of the labels under a mean cross-entropy."""
    call = loss_call(window)
    known = call is not None and call.function in CROSS_ENTROPIES and len(call.labels) > 1 and call.reduction == "mean"
    return entropy(call.labels) if known and call is not None else None


def _never_better_than_chance(window: Window, found: Evaluations, best: float) -> bool:
    call, chance = loss_call(window), _chance(window)
    if call is None or chance is None:
        return False
    return far_off(found, chance) or (best >= NEVER * chance and not beats_the_commonest(window, call.labels))


def _best(found: Evaluations, width: int) -> tuple[int, float]:
    """Gives the lowest median of three neighbours that ends before the newest evaluations, and where it lies."""
    last = len(found) - width
    middles = [med(found.values[max(0, at - 1) : at + 2]) for at in range(max(1, last + 1))]
    at = int(np.argmin(middles))
    return at, middles[at]


def _metric_change(window: Window, step: int, width: int) -> tuple[str, float] | None:
    metric = rising_metric(window)
    if metric is None:
        return None
    name, steps, values = metric
    at = int(np.searchsorted(steps, step, side="right"))
    before = values[max(0, at - 2) : at + 1]
    return (name, med(values[-width:]) - med(before)) if len(before) else None
