"""GW607: half-precision activations come close to the largest number that the format has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._layers import listed, parameters
from server.rules._nonfinite import scaler_active
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold


class NearOverflow(Rule):
    """The run has half-precision activations close to overflow

    ## What it does
    Where float16 is in use (a GradScaler, or float16 weights): layers whose largest activation was above 32,752, half
    of float16's largest number, in 3 of the last 50 samples.

    ## Why it matters
    The next larger batch gives infinity, and the step is lost, or the run.

    ## What you see in the chart
    The absolute maximum of a layer near 6.5e4.

    ## What to try
    - bfloat16 has the range of float32.
    - Normalise before the layer, or compute it in float32: `with torch.autocast("cuda", enabled=False)`.

    ## Example
    ```python
    torch.autocast("cuda", dtype=torch.float16)      # up to 65,504
    torch.autocast("cuda", dtype=torch.bfloat16)     # up to 3e38
    ```

    ## References
    - IEEE 754 binary16: the largest number is 65,504.
    - Half of it, and 3 of 50, are ours.
    """

    code = "GW607"
    name = "near-overflow"
    severity = Severity.WARNING
    since = "0.2.0"
    needs = (Kind.ACT_ABSMAX,)
    chart = "activations"
    tier = "layers"
    clock = "sample"
    clears_after = 50
    stage = Stage.GRADIENT
    levels = {"the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How close is close."""

        limit: float = threshold(32_752.0, unit="absolute value", low=1e3, high=65_504.0, source="half of 65,504")
        times: int = threshold(3, unit="of the last 50 samples", low=1, high=50, source="ours: not one outlier")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Looks at the newest samples of every layer."""
        half = any(item.dtype == "float16" for item in parameters(window))
        if not half and not scaler_active(window):
            yield NotEvaluated("float16 is not in use here")
            return
        close = {}
        for name, series in window.by_layer(Kind.ACT_ABSMAX).items():
            tail = series.tail(50)
            over = np.isfinite(tail) & (tail > params.limit)
            if int(over.sum()) >= params.times:
                close[name] = float(np.max(tail[over]))
        if close:
            worst = max(close, key=lambda name: close[name])
            yield say(
                Severity.WARNING,
                f"Activations of {len(close)} layers come close to the end of float16 (65,504): `{worst}` reached "
                f"{close[worst]:.4g}"
                + (f"; also {listed([n for n in close if n != worst])}" if len(close) > 1 else ""),
                f"Use bfloat16, or compute `{worst}` in float32; a normalisation before it keeps the values small.",
                layers=[worst, *close],
                numbers={"largest": close[worst], "layers": len(close)},
                series=[f"act/absmax/{name}" for name in list(close)[:8]],
                limit=params.limit,
            )
