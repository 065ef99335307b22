"""GW431: the statistics that batch norm stores for evaluation do not move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._batchnorm import norm_layers
from server.rules._layers import layers, listed
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold


class BnStatsNotUpdating(Rule):
    """The run has batch norms whose stored statistics stand still

    ## What it does
    Reads the running mean and variance at each training forward that is measured: bit-equal over 8 of them (5 at the
    end of a short run) is an error. Frozen norms (eval mode) are silent.

    ## Why it matters
    Evaluation uses the stored statistics. If they are still 0 and 1, or those of another data set, the evaluated model
    is not the one that was trained.

    ## What you see in the chart
    A good training loss and a validation loss at chance.

    ## What to try
    - Look for `momentum=0`, for a copy of the module that is trained in the place of the one you evaluate, for
      `functional.batch_norm(…)` without its running buffers.

    ## Example
    ```python
    F.batch_norm(x, None, None, training=True)      # wrong: stores nothing
    self.norm(x)                                    # right: nn.BatchNorm1d keeps its statistics
    ```

    ## References
    - D. Bansal, *Pitfalls of Batch Norm in TensorFlow and Sanity Checks for Training Networks*: moving statistics that
      are not updated.
    - Exact test; 8 samples are ours: each forward in training mode moves them.
    """

    code = "GW431"
    name = "bn-stats-not-updating"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 2
    chart = "activations"
    tier = "facts"
    clears_after = 1
    stage = Stage.STRUCTURE
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How long they must stand."""

        samples: int = threshold(8, unit="samples", low=3, high=1000, source="ours: exact, so a few will do")
        samples_at_end: int = threshold(5, unit="samples", low=3, high=1000, source="ours: short runs")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `batchnorm`."""
        needed = params.samples_at_end if window.final else params.samples
        known = norm_layers(window)
        untracked = {
            str(item.get("name"))
            for item in layers(window)
            if (item.get("arguments") or {}).get("track_running_stats") is False
        }
        ready = {name: item for name, item in known.items() if item.samples > needed and name not in untracked}
        if not ready:
            yield NotEvaluated(f"{needed} training forwards through a batch norm are needed")
            return
        still = [name for name, item in ready.items() if item.unmoved >= needed]
        if still:
            yield say(
                Severity.ERROR,
                f"The running statistics of {len(still)} of {len(ready)} batch norms did not change in "
                f"{ready[still[0]].unmoved} training forwards: {listed(still)}",
                f"Look for momentum=0 on `{still[0]}`, and whether the module that is trained is the one you hold "
                "(no deep "
                "copy per step, no functional batch_norm without its buffers).",
                layers=still,
                numbers={"layers": len(still), "samples": ready[still[0]].unmoved},
                limit=float(needed),
            )
