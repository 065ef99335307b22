"""GW901: the processes of one training hold different weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.ranks import series_of
from server.domain.series import Series
from server.rules._ranks import parameters_compared, ranks_of_one_model
from server.rules.base import Rule, Stage, threshold


class RankDivergence(Rule):
    """The run has processes whose weights differ

    ## What it does
    Compares the norms of the same weights at the same steps between the processes of a DistributedDataParallel
    training. They must be equal; the rule fires when one differs by more than rounding in three samples, the newest
    among them.

    ## Why it matters
    The averaged gradient belongs to none of the models any more. What is saved is the model of rank 0, and it is not
    the one that was trained.

    ## What you see in the chart
    The weight norms of the ranks, which should lie on each other, part.

    ## What to try
    - Change parameters only before the model is wrapped, or in all processes alike.
    - Look for code under `if rank == 0:` that touches weights: a loaded checkpoint, a clipped weight, an EMA.
    - Use one optimizer step for all: a skipped step in one process (a `continue` on a bad batch) parts them for good.

    ## Example
    ```python
    if rank == 0:
        model.load_state_dict(torch.load(path))                 # the others keep their own start
    model.load_state_dict(torch.load(path, map_location=device))   # in every process
    ```

    ## References
    - PyTorch documentation, *DistributedDataParallel*: parameters are broadcast once, at construction.
    - 1e-5 is ours: a hundred roundings of a float32 norm.
    """

    code = "GW901"
    name = "rank-divergence"
    severity = Severity.ERROR
    since = "0.3.0"
    chart = "series"
    tier = "layers"
    every = 20
    clears_after = None
    stage = Stage.STRUCTURE
    exact = True
    across_ranks = True
    levels = {"there": "the other rank"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How different is different."""

        difference: float = threshold(1e-5, unit="of the norm", low=1e-7, high=0.1, source="ours: beyond rounding")
        samples: int = threshold(3, unit="samples", low=1, high=100, source="ours: one can be a step apart")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Compares every rank with the first, weight by weight."""
        ranks = ranks_of_one_model(window, "only the processes of one DistributedDataParallel must hold equal weights")
        if isinstance(ranks, NotEvaluated):
            yield ranks
            return
        seen, worst = 0, (0.0, "", 0, 0, 0.0, 0.0)
        apart: set[str] = set()
        others: set[int] = set()
        for parameter in parameters_compared(window):
            series = series_of(window, f"weight_norm/{parameter}")
            first = series.pop(ranks[0], None)
            for rank, other in series.items() if first is not None else ():
                found = _difference(first, other, params.samples) if first is not None else None
                if found is None:
                    continue
                seen += 1
                step, one, two, size = found
                if size > params.difference:
                    apart.add(parameter)
                    others.add(rank)
                    worst = max(worst, (size, parameter, rank, step, one, two))
        if not seen:
            yield NotEvaluated(f"{params.samples} samples of one weight at the same steps in two ranks are needed")
        if not apart:
            return
        size, parameter, rank, step, one, two = worst
        yield Verdict(
            severity=Severity.ERROR,
            first_step=step,
            message=(
                f"The weights of rank {rank} are not those of rank {ranks[0]}: the norm of `{parameter}` is {two:.6g} "
                f"there and {one:.6g} here at step {step} ({len(apart)} of the compared weights differ)"
            ),
            advice=(
                "Look for code that changes weights in one process alone (`if rank == 0:`, a skipped optimizer step, a "
                "loaded checkpoint), and wrap the model after all of it."
            ),
            layers=tuple(dict.fromkeys(name.rpartition(".")[0] or name for name in sorted(apart))),
            evidence=Evidence(
                numbers={
                    "here": one,
                    "there": two,
                    "difference": size,
                    "weights": len(apart),
                    "ranks": len(others) + 1,
                },
                series=(f"weight_norm/{parameter}",),
                limit=params.difference,
            ),
            at_once=True,
            ranks=(ranks[0], *sorted(others)),
        )


def _difference(one: Series, other: Series, samples: int) -> tuple[int, float, float, float] | None:
    """Gives the first step of the newest common samples, both norms there, and the least difference among them."""
    steps, mine, theirs = np.intersect1d(one.steps[-10 * samples :], other.steps[-10 * samples :], return_indices=True)
    if len(steps) < samples:
        return None
    first = one.tail(10 * samples)[mine][-samples:]
    second = other.tail(10 * samples)[theirs][-samples:]
    with np.errstate(all="ignore"):
        sizes = np.abs(first - second) / np.maximum(np.abs(first), np.abs(second))
    if not np.isfinite(sizes).all():
        return None
    return int(steps[-samples]), float(first[0]), float(second[0]), float(np.min(sizes))
