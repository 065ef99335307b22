"""GW102: before training, the model did as well without its inputs."""

from __future__ import annotations

from server.domain.findings import Severity
from server.rules._preflight import PreflightRule
from server.rules.base import Stage


class InputIndependentBaseline(PreflightRule):
    """The run has a model that gains nothing from its inputs

    ## What it does
    Preflight changes each input of the model alone, after twenty steps of training: an input that changes no output is
    never used, which is a warning. Then it trains 200 steps on the real inputs and 200 on zeros, from the same start.
    If the real ones are not at least 2 % (and 3 standard errors) better, it says so as a remark, because 200 steps are
    few. Everything is put back.

    ## Why it matters
    A network that ignores its inputs still lowers the loss: it learns how often each label comes, and looks as if it
    trained.

    ## What you see in the chart
    Two losses on the preflight page, with the inputs and with zeros, that lie on each other.

    ## What to try
    - Look for a `detach()`, a tensor that is overwritten, a first layer whose units are all dead.
    - Check that the loader pairs inputs with their own labels.

    ## Example
    ```python
    hidden = self.encoder(torch.zeros_like(x))     # wrong: left over from a test
    hidden = self.encoder(x)                       # right
    ```

    ## References
    - A. Karpathy, *A Recipe for Training Neural Networks* (2019): an input-independent baseline.
    - The 2 % and the 3 standard errors are ours.
    """

    code = "GW102"
    name = "input-independent-baseline"
    severity = Severity.WARNING
    chart = "loss"
    stage = Stage.STOPPED  # a faulty loss, loader or layer explains it
    exact = False
