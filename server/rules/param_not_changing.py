"""GW303: weights stay bit-identical although they get gradients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Series
from server.rules._layers import listed, parameters
from server.rules.base import Rule, Stage, threshold

FEWEST_NORMS = 3  # of weights and biases: one that is kept on a sphere has the same norm too
DONE = 1e-4  # of the first gradients: a fit that ended there moves by less than a float32 can hold


class ParamNotChanging(Rule):
    """The run has weights that never change although they get gradients

    ## What it does
    Per optimizer group: the update ratio ‖Δw‖/‖w‖ is exactly 0 in the last 20 samples for *every* matrix of the
    group, while at least one of them had a finite gradient above a ten-thousandth of its first ones in each of those
    samples and the group's learning rate was above 0 and not a millionth of what it once was. Steps that a GradScaler
    skips have non-finite gradients and do not count. One early layer alone whose tiny updates are rounded away
    belongs to `vanishing-gradient`. The other way round, each optimizer step moves every weight by a hundred-
    thousandth or more, and yet the norms of all weights and biases are the same number in all of these samples:
    something puts the old values back after each step.

    ## Why it matters
    The training runs, costs its full price, and the model stays where it started.

    ## What you see in the chart
    Update ratios of exactly zero beside healthy gradient norms.

    ## What to try
    - Check that `optimizer.step()` is reached in every iteration, and that nothing copies old weights back after it.
    - fp16 or bf16 weights: an update below half a unit in the last place is rounded to nothing; keep fp32 weights and
      use `torch.autocast`.
    - Print `id(model.weight)` and the ids in `optimizer.param_groups`: the optimizer may hold other tensors.

    ## Example
    ```python
    model = model.bfloat16()                  # wrong: updates of 1e-3 of the weight vanish in 8 bits
    with torch.autocast("cuda", torch.bfloat16): ...   # right: weights stay float32
    ```

    ## References
    - IEEE 754: half a unit in the last place is 2^-9 to 2^-8 of a bf16 number, 2^-12 to 2^-11 of an fp16 number.
    - Exact test. A tolerance (as SageMaker Debugger's 1e-5) would fire on small learning rates.
    """

    code = "GW303"
    name = "param-not-changing"
    severity = Severity.ERROR
    since = "0.1.0"
    version = 3
    needs = (Kind.PARAM_UPDATE_RATIO, Kind.PARAM_GRAD_NORM)
    chart = "updates"
    tier = "layers"
    clock = "sample"
    clears_after = 3
    stage = Stage.STRUCTURE
    exact = True
    levels = {"the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How many samples must show it."""

        samples: int = threshold(
            20, unit="samples", low=3, high=1000, source="one equal step can be a skipped one; twenty in a row are not"
        )
        faded: float = threshold(
            1e-6, unit="of the largest rate", low=0.0, high=0.1, source="ours: the schedule has ended (lr-schedule-bug)"
        )
        moved: float = threshold(
            1e-5, unit="of the weights", low=1e-7, high=0.1, source="ours: far above what a float32 norm resolves"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges each optimizer group by all of its matrices."""
        updates = window.by_layer(Kind.PARAM_UPDATE_RATIO)
        if all(_moves(series, params.samples) for series in updates.values()) and updates:
            if _put_back(window, updates, params):
                yield _restored(updates, params.samples)
            return
        gradients = window.by_layer(Kind.PARAM_GRAD_NORM)
        groups = _groups(window, updates)
        enough = {group: names for group, names in groups.items() if _count(updates, names) >= params.samples}
        if not enough:
            most = max((_count(updates, names) for names in groups.values()), default=0)
            yield NotEvaluated(f"{params.samples} samples of update ratios are needed, {most} are in")
            return
        for group, names in enough.items():
            rate = window.series(f"lr/{group}") if group is not None else None
            if rate is not None and rate and not rate.last > params.faded * float(np.nanmax(rate.values)):
                continue
            since = _frozen_since(updates, gradients, names, params.samples)
            if since is not None:
                yield _verdict(group, names, since, params.samples, gradients, rate)
                return


def _groups(window: Window, updates: dict[str, Series]) -> dict[str | None, list[str]]:
    """Maps each optimizer group to its matrices with updates; None collects them where the model's table is missing."""
    known = parameters(window)
    if not known:
        return {None: list(updates)} if updates else {}
    groups: dict[str | None, list[str]] = {}
    for item in known:
        if item.trainable and item.is_matrix and item.name in updates:
            for group in item.groups or ():
                groups.setdefault(group, []).append(item.name)
    return groups


def _moves(series: Series, samples: int) -> bool:
    """Says whether there are enough samples, and the newest one is of a weight that moved."""
    return series.count >= samples and series.last != 0


def _put_back(window: Window, updates: dict[str, Series], params: ParamNotChanging.Params) -> bool:
    """Says whether the weights are the same at the beginning of every step, although each step moves them."""
    norms = window.by_layer(Kind.PARAM_WEIGHT_NORM)
    if len(norms) < FEWEST_NORMS or any(series.count < params.samples for series in norms.values()):
        return False
    if any(not np.all(series.tail(params.samples) == series.last) for series in norms.values()):
        return False
    return all(np.all(series.tail(params.samples) >= params.moved) for series in updates.values())


def _restored(updates: dict[str, Series], samples: int) -> Verdict:
    first = next(iter(updates.values()))
    size = float(np.median([series.last for series in updates.values()]))
    return Verdict(
        severity=Severity.ERROR,
        first_step=int(first.steps[-samples]),
        message=(
            f"Each step moves the weights by {size:.2g} of their size, and yet their norms were the same to the last "
            f"bit in {samples} samples since step {first.steps[-samples]}: the old weights are put back after the step"
        ),
        advice=(
            "Look for what writes to the weights in the loop: load_state_dict, an average that is swapped in, a copy "
            "of the model that is made anew. Load a checkpoint once, before the loop."
        ),
        evidence=Evidence(
            numbers={"update_ratio": size, "samples": float(samples)},
            series=tuple(f"weight_norm/{name}" for name in list(updates)[:8]),
            limit=0.0,
        ),
        at_once=True,
    )


def _count(updates: dict[str, Series], names: list[str]) -> int:
    return min(updates[name].count for name in names)


def _frozen_since(
    updates: dict[str, Series], gradients: dict[str, Series], names: list[str], samples: int
) -> int | None:
    """Gives the first step of the stillness, None if a matrix moved or no gradient said that it should."""
    alive: set[int] = set()
    tested: set[int] = set()
    for name in names:
        series = updates[name]
        if np.any(series.tail(samples) != 0):  # a NaN is no stillness either
            return None
        steps = series.steps[-samples:]
        tested.update(steps.tolist())
        if name in gradients:
            gradient = gradients[name]
            least = DONE * np.max(gradient.values[:3], initial=0.0, where=np.isfinite(gradient.values[:3]))
            good = np.isfinite(gradient.values) & (gradient.values > least)
            alive.update(np.intersect1d(steps, gradient.steps[good]).tolist())
    return min(tested) if tested and tested <= alive else None


def _verdict(
    group: str | None, names: list[str], since: int, samples: int, gradients: dict[str, Series], rate: Series | None
) -> Verdict:
    norm = max(gradients[name].last for name in names if name in gradients)
    lr = rate.last if rate else None
    of = f"group `{group}`" if group is not None else "the model"
    numbers = {"matrices": float(len(names)), "samples": float(samples), "largest_gradient_norm": norm}
    if lr is not None:
        numbers["learning_rate"] = lr
    return Verdict(
        severity=Severity.ERROR,
        first_step=since,
        message=(
            f"Every matrix of {of} ({len(names)} in all) stayed bit-identical in the last {samples} samples since "
            f"step {since} "
            f"although their gradients are not zero (largest norm {norm:.3g}"
            + (f", learning rate {lr:.3g}" if lr is not None else "")
            + f"): {listed(names)}"
        ),
        advice=(
            "Compare a weight before and after `optimizer.step()`. Equal: the step is skipped, another optimizer "
            "holds these tensors, or the weights are "
            "bf16/fp16 and the update is rounded away (keep fp32 weights, use torch.autocast). Different: something "
            "copies the old weights "
            "back (load_state_dict, an EMA swap) in the loop."
        ),
        layers=tuple(dict.fromkeys(name.rpartition(".")[0] or name for name in names)),
        evidence=Evidence(numbers=numbers, series=tuple(f"update_ratio/{name}" for name in names[:8]), limit=0.0),
        at_once=True,
    )
