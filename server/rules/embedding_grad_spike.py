"""GW957: a jump of the gradient comes from the embedding alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Series
from server.domain.statistics import med
from server.rules._layers import parameters
from server.rules._say import percent, say
from server.rules._spikes import marks
from server.rules.base import Rule, Stage, threshold

INCIDENTS = frozenset({"GW205", "GW307"})


class EmbeddingGradSpike(Rule):
    """The run has jumps of the gradient that come from an embedding

    ## What it does
    Where the loss or the gradient norm jumps (GW205, GW307), asks which part of the model the jump came from: an
    embedding that holds more than half of the squared norm then, and far less usually, is named.

    ## Why it matters
    Rare tokens get rare, large gradients. In language models the first layer is a common trigger of a spike, and it
    can be mended there alone.

    ## What you see in the chart
    The embedding's gradient norm rises to the global one at the jump.

    ## What to try
    - Shrink the embedding's gradient (`emb = a * emb + (1 - a) * emb.detach()`, a = 0.1), or clip its group alone.
    - A lower learning rate and a smaller initialisation (std 0.02) for the embedding.

    ## Example
    ```python
    x = tok(ids)
    x = 0.1 * x + 0.9 * tok(ids).detach()    # the forward is the same, the gradient a tenth
    ```

    ## References
    - Zeng et al. 2022, *GLM-130B*: embedding layer gradient shrink.
    - More than half of the squared norm: ours.
    """

    code = "GW957"
    name = "embedding-grad-spike"
    severity = Severity.INFO
    since = "0.3.0"
    needs = (Kind.PARAM_GRAD_NORM, Kind.GRAD_NORM)
    chart = "grad-norm"
    tier = "layers"
    clock = "sample"
    stage = Stage.SYMPTOM

    @dataclass(frozen=True)
    class Params:
        """How much of the norm is its."""

        share: float = threshold(0.5, unit="of the squared gradient norm", low=0.1, high=1.0, source="ours: the half")
        usual: float = threshold(
            2.0, unit="times its usual share", low=1.1, high=100.0, source="ours: else it always is"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Looks at the sampled jumps of the newest samples."""
        known = parameters(window)
        if not known:
            yield NotEvaluated("the layers of the model are not known", "monitor = watch(model, optimizer)")
            return
        norms = window.series("grad_norm")
        gradients = window.by_layer(Kind.PARAM_GRAD_NORM)
        names = [item.name for item in known if "Embedding" in item.layer_type and item.name in gradients]
        if not names:
            return
        if not INCIDENTS & window.open_codes:
            return
        jumps = marks(window, norms)
        for name in names:
            found = _share_at(gradients[name], norms, jumps)
            if found is None:
                continue
            step, share, usual = found
            if share > params.share and share > params.usual * usual:
                layer = name.rpartition(".")[0] or name
                yield say(
                    Severity.INFO,
                    f"The jump of the gradient at step {step} came from the embedding `{layer}`: {percent(share)} of "
                    f"the squared norm was its own then, {percent(usual)} usually",
                    "Clip or shrink the gradient of the embedding alone, or give it a lower learning rate.",
                    step=step,
                    layers=(layer,),
                    numbers={"share": share, "usual_share": usual},
                    series=(f"grad_norm/{name}", "grad_norm"),
                    at_once=False,
                )
                return


def _share_at(own: Series, whole: Series, jumps: object) -> tuple[int, float, float] | None:
    """Gives the newest jump, the share of the squared norm there, and the usual one."""
    steps, mine, theirs = np.intersect1d(own.steps[-300:], whole.steps[-300:], return_indices=True)
    if len(steps) < 10:
        return None
    with np.errstate(all="ignore"):
        shares = np.minimum((own.tail(300)[mine] / whole.tail(300)[theirs]) ** 2, 1.0)
    at = [index for index, step in enumerate(steps.tolist()) if step in jumps]  # type: ignore[operator]
    if not at or not np.isfinite(shares[at[-1]]):
        return None
    return int(steps[at[-1]]), float(shares[at[-1]]), med(np.delete(shares, at))
