"""GW106: before training, the range test found the learning rate far outside of where the loss falls."""

from __future__ import annotations

from server.domain.findings import Severity
from server.rules._preflight import PreflightRule
from server.rules.base import Stage


class LRRangeTest(PreflightRule):
    """The run has a learning rate outside the range that a test over 100 steps finds

    ## What it does
    Preflight trains for 100 steps with a learning rate that grows from 1e-7 to 10 and puts everything back. It marks
    where the loss falls fastest and from where on it runs away, tries some rates for 16 steps from the initial
    weights, and suggests one. A rate above the turn at which a trial raised the loss is a warning (an info with a
    warm-up); one more than 100 times below the steepest point, that did worse in its trial, is an info.

    ## Why it matters
    The learning rate decides more than any other number. Too high destroys the initial weights in a few steps; 100
    times too low looks like a network that cannot learn.

    ## What you see in the chart
    The loss over the learning rate on the preflight page: flat, then a slope, then a wall. Your rate is marked.

    ## What to try
    - Start at the suggestion, or a tenth of the rate from which on the loss runs away.
    - Keep the warm-up if your peak lies near that wall: a warmed-up model bears more than a fresh one.

    ## Example
    ```python
    from client_hook import lr_range_test
    print(lr_range_test(model, loss_fn, train_loader, optimizer))
    ```

    ## References
    - Smith 2017, *Cyclical Learning Rates for Training Neural Networks*, arXiv:1506.01186.
    - fast.ai `lr_find` and Lightning `lr_find`: 100 steps, stop at 4 times the best loss. The verdict and the trials
      are ours.
    """

    code = "GW106"
    name = "lr-range-test"
    severity = Severity.WARNING
    chart = "learning-rate"
    stage = Stage.EARLY_RATE
    exact = False
