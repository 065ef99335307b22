"""GW904: several processes train on the same batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.ranks import fact_of
from server.rules._ranks import ranks_of_one_model
from server.rules.base import Rule, Stage, threshold

OF_INPUTS = ("shape", "dtype", "rms", "mean", "std", "absmax", "zeros")
OF_TARGETS = ("shape", "dtype", "min", "max", "mean", "std")
FEWEST_LABELS = 100
FEWEST_OF_A_CLASS = 20


class RanksSeeSameData(Rule):
    """The run has processes that train on the same batches

    ## What it does
    Compares, between the processes of one DistributedDataParallel training, the statistics of the first batches: mean,
    spread and range of the inputs, or of the targets where the inputs are whole numbers. All digits equal over five
    batches is no chance.

    ## Why it matters
    Every process computes the same gradient, and their mean is that gradient: eight devices do the work of one, and an
    epoch takes as long as on one.

    ## What you see in the chart
    The losses of the processes lie exactly on each other.

    ## What to try
    - `DataLoader(data, sampler=DistributedSampler(data))`, and `sampler.set_epoch(epoch)` at the start of each epoch.
    - In an IterableDataset: take every `world_size`-th example, beginning at `rank`.
    - Seed augmentation with `seed + rank`.

    ## Example
    ```python
    DataLoader(data, batch_size=32, shuffle=True)                        # the same order everywhere, with one seed
    DataLoader(data, batch_size=32, sampler=DistributedSampler(data))    # each process its own share
    ```

    ## References
    - PyTorch documentation, *torch.utils.data.distributed.DistributedSampler*.
    - Five of five equal: ours; equal sums of thousands of floats are equal batches.
    """

    code = "GW904"
    name = "ranks-see-same-data"
    severity = Severity.ERROR
    since = "0.3.0"
    chart = "loss"
    tier = "facts"
    clears_after = None
    stage = Stage.DATA
    exact = True
    across_ranks = True

    @dataclass(frozen=True)
    class Params:
        """How many batches must be equal."""

        batches: int = threshold(5, unit="batches", low=1, high=20, source="exact: one can be a warm-up batch")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Compares every rank with the first."""
        ranks = ranks_of_one_model(window, "only processes of one DistributedDataParallel must see different data")
        if isinstance(ranks, NotEvaluated):
            yield ranks
            return
        prints = {rank: _print(window, rank, params.batches) for rank in ranks}
        if any(found is None for found in prints.values()):
            yield NotEvaluated(f"the inputs or targets of {params.batches} batches of every rank are needed")
            return
        first = prints[ranks[0]]
        same = [rank for rank in ranks[1:] if prints[rank] == first]
        if not same:
            return
        everybody = len(same) == len(ranks) - 1
        what, batches, values = first or ("", 0, ())
        names = ", ".join(map(str, [ranks[0], *same]))
        yield Verdict(
            severity=Severity.ERROR if everybody else Severity.WARNING,
            first_step=0,
            message=(
                f"Ranks {names} of {len(ranks)} saw the same {batches} batches: mean, spread and range of their {what} "
                "are equal to the last digit"
            ),
            advice=(
                "Give each process its own share: DataLoader(data, sampler=DistributedSampler(data)) with "
                "sampler.set_epoch(epoch), or every world_size-th example of a stream."
            ),
            evidence=Evidence(
                numbers={"ranks": len(same) + 1, "of": len(ranks), "batches": batches},
                strings={what: ", ".join(map(str, values))},
                series=("loss",),
            ),
            at_once=True,
            ranks=(ranks[0], *same),
        )


def _print(window: Window, rank: int, fewest: int) -> tuple[str, int, tuple[Any, ...]] | None:
    """Gives what the first batches of a rank were like; None while too few were seen."""
    for item in fact_of(window, rank, "inputs").values():
        if isinstance(item, Mapping) and item.get("mean") is not None and int(item.get("batches") or 0) >= fewest:
            return "inputs", int(item["batches"]), tuple(map(str, (item.get(key) for key in OF_INPUTS)))
    call = fact_of(window, rank, "loss_call")
    batches, target, labels = int(call.get("batches") or 0), call.get("target"), call.get("label_counts")
    if batches < fewest:
        return None
    if isinstance(labels, Mapping):
        counts = [int(count) for count in labels.values()]
        if sum(counts) >= FEWEST_LABELS and sum(count >= FEWEST_OF_A_CLASS for count in counts) > 1:
            return "labels", batches, tuple(sorted((str(label), int(count)) for label, count in labels.items()))
    if isinstance(target, Mapping) and target.get("std") and not target.get("integer"):
        return "targets", batches, tuple(map(str, (target.get(key) for key in OF_TARGETS)))
    return None
