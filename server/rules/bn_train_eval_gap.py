"""GW434: batch norm's stored statistics do not describe what it sees in evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.statistics import med
from server.rules._batchnorm import NormLayer, norm_layers
from server.rules._layers import layers, listed
from server.rules._say import percent, say
from server.rules._unseen_copy import validated_by_a_copy
from server.rules._validation import evaluations
from server.rules.base import Rule, Stage, threshold

NEWEST = 10  # losses that make a level
RACING = 0.7  # of the loss, in 5/momentum steps


class BnTrainEvalGap(Rule):
    """The run has batch norms whose stored statistics do not fit the data

    ## What it does
    In evaluation it compares the variance of what reaches each batch norm with the stored one: a median factor above 2
    over the channels, in the newer half of at least two evaluations, after 5/momentum updates. It is a warning
    where the validation loss is more than half above the training loss as well (an error above 3 times), else an
    info. While the training loss falls by 30 % in 5/momentum steps the stored numbers are behind in every run, and
    nothing is said before its end. At the end of a run whose momentum was so small that a tenth or more of the
    stored numbers is still what they started from, the same is a warning. So is a validation of classes that never
    ran through the batch norms that are trained, and whose last third lies above 85 % of what a guess costs while
    the training loss is below half of it: a copy of the model (averaged weights) is judged, whose stored numbers
    are not those of the training.

    ## Why it matters
    In training each batch is normalised by itself; in evaluation by the stored numbers. Where they differ, the model
    that you evaluate is another one.

    ## What you see in the chart
    A validation loss far above the training loss from the start, which jumps.

    ## What to try
    - A momentum of 0.1 (PyTorch's momentum is the share of the new batch; 0.001 takes thousands of steps); larger
      batches.
    - No dropout upstream of a batch norm.
    - Recompute the statistics over the training set before you evaluate.
    - Averaged weights: `AveragedModel(model, use_buffers=True)`, or copy the buffers as well.

    ## Example
    ```python
    torch.optim.swa_utils.update_bn(train_loader, model)     # recomputes the statistics
    ```

    ## References
    - Ioffe & Szegedy 2015, *Batch Normalization*; Wu & Johnson 2021, *Rethinking "Batch" in BatchNorm*.
    - 50 %: TheDeepChecker; ln 2 is ours. Layers with fewer than 32 values per channel are too noisy to judge.
    """

    code = "GW434"
    name = "bn-train-eval-gap"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 4
    chart = "loss"
    tier = "facts"
    clears_after = 3
    gates = ("moving_target",)
    whole_run = True
    stage = Stage.STATISTICS

    @dataclass(frozen=True)
    class Params:
        """How far is far."""

        gap: float = threshold(
            math.log(2), unit="ln of a variance ratio", low=0.1, high=5.0, source="ours: a factor of 2"
        )
        values: int = threshold(32, unit="values per channel", low=8, high=10_000, source="noise √(2/(n−1)) = 25 %")
        evaluations: int = threshold(
            2, unit="evaluations", low=1, high=100, source="ours: the first may come too early"
        )
        worse: float = threshold(0.5, unit="of the training loss", low=0.05, high=10.0, source="TheDeepChecker")
        updates: float = threshold(5.0, unit="1/momentum steps", low=1.0, high=50.0, source="the average has settled")
        usual: float = threshold(0.1, unit="momentum", low=0.01, high=0.5, source="PyTorch's default: less was chosen")
        initial: float = threshold(
            0.1, unit="of the stored numbers", low=0.01, high=0.9, source="ours: they are still seen in the variance"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `batchnorm` with the validation loss."""
        copied = validated_by_a_copy(window)
        if copied is not None:
            yield copied
            return
        momenta = [float((item.get("arguments") or {}).get("momentum") or 0.1) for item in layers(window)
                   if "BatchNorm" in str(item.get("type"))]  # fmt: skip
        settled = params.updates / max(min(momenta, default=0.1), 1e-3)
        known = {
            name: item
            for name, item in norm_layers(window).items()
            if item.eval_samples >= params.evaluations
            and item.eval_values >= params.values
            and item.eval_gap is not None
            and (item.samples or not item.frozen)  # else training goes by the stored numbers too
        }
        momentum, updates = min(momenta, default=0.1), _updates(window, known)
        left = (1 - momentum) ** updates
        late = window.final and momentum < params.usual and left > params.initial and not _started(window)
        early = min(window.samples, _seen(window, known)) < settled
        if not known or (early and not late):
            yield NotEvaluated(
                f"{params.evaluations} evaluations through a batch norm are needed, after {settled:.0f} steps",
                "compute the validation loss with a loss function, under torch.no_grad()",
            )
            return
        far = [name for name, item in known.items() if (item.eval_gap or 0) > params.gap]
        if not far:
            return
        if not window.final and _races(window, int(settled)):
            yield NotEvaluated("the training loss falls quickly, and what is stored lags behind the weights")
            return
        found = evaluations(window)
        worse = 0.0
        if found is not None and len(found) >= 2:
            pairs = zip(found.values[-2:], found.training[-2:], strict=True)
            floor = 0.05 * abs(float(window.loss.values[0])) if window.loss else 0.0
            worse = min((value - train) / max(train, floor, 1e-12) for value, train in pairs)
        if early and not worse > params.worse:
            return
        worst = max(far, key=lambda name: known[name].eval_gap or 0)
        factor = math.exp(known[worst].eval_gap or 0)
        severity = Severity.ERROR if worse > 2 else Severity.WARNING if worse > params.worse else Severity.INFO
        if early:
            yield _still_the_first(worst, factor, momentum, left, updates, worse, far, params)
            return
        yield say(
            severity,
            f"In evaluation the variance at `{worst}` differs {factor:.2g} times from the stored one"
            + (f" (also {listed([name for name in far if name != worst])})" if len(far) > 1 else "")
            + (f", and the validation loss is {worse:.0%} above the training loss" if worse > params.worse else ""),
            "Use momentum=0.1 or less and larger batches, move dropout behind the last batch norm, or recompute the "
            "statistics with torch.optim.swa_utils.update_bn before evaluating.",
            layers=[worst, *far],
            numbers={"variance_factor": factor, "loss_above": worse, "layers": len(far)},
            series=("loss", "val/loss"),
            limit=params.gap,
        )


def _races(window: Window, settled: int) -> bool:
    """Says whether the loss fell so far while the stored numbers settled that they are those of another model."""
    losses = window.loss.values
    if len(losses) < settled + NEWEST:
        return True
    return med(losses[-NEWEST:]) < RACING * med(losses[-settled - NEWEST : -settled])


def _updates(window: Window, known: Mapping[str, NormLayer]) -> int:
    """Counts how often the stored numbers moved, at least: once in a step, and more where a step has several calls."""
    steps = int(window.loss.steps[-1]) + 1 if window.loss else 0
    return steps * max((item.calls for item in known.values()), default=1)


def _seen(window: Window, known: Mapping[str, NormLayer]) -> int:
    """Gives how often the stored numbers had moved before the newest evaluation that was measured; a hook that does not
    say when that was has seen them all."""
    steps = [item.eval_step * item.calls for item in known.values() if item.eval_step is not None]
    return min(steps, default=window.samples)


def _started(window: Window) -> bool:
    """Says whether the stored numbers may come from another training."""
    return window.gates.finetune or window.gates.resumed


def _still_the_first(
    worst: str, factor: float, momentum: float, left: float, updates: int, worse: float, far: list[str],
    params: BnTrainEvalGap.Params,
) -> Verdict:  # fmt: skip
    return say(
        Severity.WARNING,
        f"With a momentum of {momentum:g}, {percent(left)} of what batch norm has stored is still what it started from "
        f"after {updates} updates: in evaluation the variance at `{worst}` differs {factor:.2g} times from the stored "
        f"one, and the validation loss is {worse:.0%} above the training loss",
        "Use momentum=0.1: PyTorch's momentum is the share of the new batch, so 0.999 elsewhere is 0.001 here, which "
        "is for runs of many thousand steps. Or recompute the statistics with torch.optim.swa_utils.update_bn.",
        layers=[worst, *far],
        numbers={"momentum": momentum, "left": left, "variance_factor": factor, "loss_above": worse},
        series=("loss", "val/loss"),
        limit=params.gap,
    )
