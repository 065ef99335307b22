"""GW951: scores before the softmax of attention grow without bound."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Floats
from server.domain.statistics import finite, med, window_size
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

FEWEST = 20
CAUSE = "GW411"  # lr-too-high


class AttentionLogitGrowth(Rule):
    """The run has attention whose scores grow without bound

    ## What it does
    On sampled steps the scores of each fused attention are computed once more, for one head of one example. A largest
    score above 100 that still rises (Mann-Kendall test over the window) is a warning; above 1,000, or where the softmax
    has become one-hot (entropy below a tenth of an even row's), an error. Where the learning rate is known to be too
    high (GW411), it is a consequence of that.

    ## Why it matters
    The softmax picks one key and passes no gradient to the others; in half precision the next step is an overflow.
    Large models trained at high rates diverge so.

    ## What you see in the chart
    The largest score climbs on a log axis, the entropy falls to 0.

    ## What to try
    - Normalise queries and keys (QK-norm), or rescale their weights when a score passes 100 (QK-clip).
    - Lower the learning rate, warm up longer.

    ## Example
    ```python
    q, k = self.q_norm(q), self.k_norm(k)          # nn.RMSNorm(head_dim) on each
    F.scaled_dot_product_attention(q, k, v)
    ```

    ## References
    - Wortsman et al. 2023, *Small-scale proxies for large-scale Transformer training instabilities*.
    - Kimi Team 2025, *Kimi K2*: scores are clipped at 100, and passed 1,000 before instabilities.
    """

    code = "GW951"
    name = "attention-logit-growth"
    severity = Severity.ERROR
    since = "0.3.0"
    version = 2
    chart = "series"
    tier = "layers"
    clock = "sample"
    persistence = (3, 5)
    stage = Stage.GRADIENT
    levels = {"the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How large, and how surely rising."""

        warning: float = threshold(100.0, unit="largest |score|", low=10.0, high=1e5, source="Kimi K2: clipped at 100")
        error: float = threshold(1000.0, unit="largest |score|", low=50.0, high=1e6, source="Kimi K2")
        entropy: float = threshold(0.1, unit="of an even row's entropy", low=0.001, high=0.5, source="ours: one-hot")
        z: float = threshold(3.1, unit="sigmas of the trend test", low=1.0, high=10.0, source="p < 0.001, one-sided")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges every attention by its newest window."""
        scores = window.by_layer(Kind.ACT_SCORES)
        width = window_size(window.samples, window.planned)
        ready = {call: series for call, series in scores.items() if series.count >= FEWEST}
        if not ready:
            yield NotEvaluated(
                f"{FEWEST} samples of attention scores are needed" if scores else "no fused attention was seen",
                "" if scores else "torch.nn.functional.scaled_dot_product_attention(q, k, v)",
            )
            return
        found: dict[str, tuple[float, float]] = {}
        for call, series in ready.items():
            values = series.tail(width)
            now = med(values[-5:])
            if now > params.warning and _rises(values, params.z):
                found[call] = now, med(window.series(f"{Kind.ACT_ENTROPY.value}{call}").tail(5))
        if not found:
            return
        worst = max(found, key=lambda call: found[call][0])
        now, entropy = found[worst]
        one_hot = math.isfinite(entropy) and entropy < params.entropy
        bad = now > params.error or one_hot
        series = ready[worst]
        first = med(series.values[:3])
        also = f"; {len(found) - 1} more grow too" if len(found) > 1 else ""
        yield say(
            Severity.ERROR if bad else Severity.WARNING,
            f"The largest attention score of call {worst} in the forward is {now:.3g} and rises, "
            f"{first:.3g} at first (limit {params.warning:g})"
            + (f"; its weights are one-hot (entropy {entropy:.2g} of an even row's)" if one_hot else "")
            + also,
            "Normalise queries and keys before the product (QK-norm), lower the learning rate, and warm up longer.",
            step=int(series.steps[max(0, series.count - width)]),
            numbers={"score": now, "first": first, "entropy": entropy, "calls": len(found)},
            series=(f"{Kind.ACT_SCORES.value}{worst}", f"{Kind.ACT_ENTROPY.value}{worst}"),
            limit=params.error if bad and not one_hot else params.warning,
            at_once=False,
            stage=Stage.SYMPTOM if CAUSE in window.open_codes else None,
        )


def _rises(values: Floats, z: float) -> bool:
    """Tests for a rising trend: Mann and Kendall's count of rising pairs against chance."""
    kept = finite(values)
    count = len(kept)
    if count < FEWEST // 2:
        return False
    rising = float(np.sign(kept[None, :] - kept[:, None])[np.triu_indices(count, 1)].sum())
    sigma = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    return rising / sigma > z
