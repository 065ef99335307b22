"""GW102: the model does as well without its inputs, before training or at its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._no_gain import no_gain
from server.rules._preflight import NOT_RUN, PreflightRule
from server.rules.base import Stage


class InputIndependentBaseline(PreflightRule):
    """The run has a model that gains nothing from its inputs

    ## What it does
    Preflight changes each input of the model alone, after twenty steps of training: an input that changes no output is
    never used, which is a warning. Then it trains 200 steps on the real inputs and 200 on zeros, from the same start.
    If the real ones are not at least 2 % (and 3 standard errors) better, it says so as a remark, because 200 steps are
    few. Everything is put back. Where no preflight was run, it looks at the end of the training: a loss that settled at
    the entropy of the labels (3 % below it at most, with a validation loss that never came 1 % below it, and not both
    of them surely below), or a squared error that never fell from the variance of the targets, is what the best answer
    without any inputs costs; targets of the validation that differ less count as they are. Causes that are known come
    first, and so does a class with more than 80 % of the labels.

    ## Why it matters
    A network that ignores its inputs still lowers the loss: it learns how often each label comes, and looks as if it
    trained.

    ## What you see in the chart
    Two losses on the preflight page, with the inputs and with zeros, that lie on each other; or a training loss that
    falls at once to the entropy of its labels and stays there.

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
    version = 3
    exact = False

    def check(self, window: Window, params: Any) -> Iterator[Verdict | NotEvaluated]:
        """Passes on what preflight found; without one it judges the loss at the end of the training."""
        for answer in super().check(window, params):
            found = no_gain(window) if answer is NOT_RUN else None
            yield found or answer
