"""GW105: before training, backward did not give the slope of the loss."""

from __future__ import annotations

from server.domain.findings import Severity
from server.rules._preflight import PreflightRule


class GradientCheck(PreflightRule):
    """The run has a backward that is not the slope of its loss

    ## What it does
    On a copy of the model in float64 on the CPU, without dropout and with fixed noise, preflight compares what backward
    computes with the difference of the loss along five random directions, each with three step sizes. The median of
    relative differences above 0.0001 is a warning, above 0.01 an error; single parameters are then tested to name them.
    What cannot run in float64 is not evaluated.

    ## Why it matters
    A custom autograd function, a `detach` in the wrong place or an in-place change gives gradients that point astray.
    The loss often still falls, only not as far.

    ## What you see in the chart
    The relative difference for each direction, on the preflight page, with both limits.

    ## What to try
    - Check the backward of your own autograd functions with `torch.autograd.gradcheck`.
    - Check the data loss alone first: a penalty with a simple gradient can hide a wrong one.
    - A straight-through estimator, or a `detach` that is meant, differs by design: leave the check out.

    ## Example
    ```python
    def backward(ctx, grad): return grad * ctx.x              # wrong for x²
    def backward(ctx, grad): return grad * 2 * ctx.x          # right
    ```

    ## References
    - Stanford CS231n, *Neural Networks 3*: gradient checks; above 0.01 probably wrong, below 0.0001 fine with kinks.
    """

    code = "GW105"
    name = "gradient-check"
    severity = Severity.ERROR
    chart = "loss"
