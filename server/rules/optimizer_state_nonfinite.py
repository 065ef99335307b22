"""GW444: the optimizer's memory holds NaN or infinity."""

from __future__ import annotations

from collections.abc import Iterator

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._layers import listed
from server.rules._say import say
from server.rules.base import Rule, Stage


class OptimizerStateNonfinite(Rule):
    """The run has an optimizer whose memory is not finite

    ## What it does
    Looks now and then at the tensors that the optimizers keep (momentum, first and second moments): NaN or infinity in
    one of them is an error.

    ## Why it matters
    The memory does not forget a NaN: every later step of that weight is NaN, even if the loss is finite again.

    ## What you see in the chart
    Update ratios that are not finite.

    ## What to try
    - Go back to a checkpoint before it, of model *and* optimizer.
    - Skip steps with non-finite gradients.

    ## Example
    ```python
    if torch.isfinite(norm): optimizer.step()      # keeps the memory clean
    ```

    ## References
    - PyTorch, `torch.nn.utils.clip_grad_norm_(…, error_if_nonfinite=True)`.
    - Exact test.
    """

    code = "GW444"
    name = "optimizer-state-nonfinite"
    severity = Severity.ERROR
    since = "0.2.0"
    chart = "updates"
    tier = "facts"
    clears_after = 1
    stage = Stage.UNITS

    def check(self, window: Window, params: Rule.Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `optimizer_state`."""
        del params  # it has no thresholds
        fact = window.fact("optimizer_state")
        if not fact:
            yield NotEvaluated("the optimizer's memory was not looked at yet")
            return
        bad = [str(name) for name in fact.get("nonfinite") or ()]
        if bad:
            yield say(
                Severity.ERROR,
                f"The optimizer keeps {len(bad)} tensors with NaN or infinity: {listed(bad)}",
                "Load model and optimizer from a checkpoint before it, and skip steps whose gradient norm is not "
                "finite.",
                step=window.step,
                layers=[name.partition(":")[0].rpartition(".")[0] for name in bad],
                numbers={"tensors": len(bad)},
                limit=0.0,
            )
