"""GW101: before training, the model could not learn eight fixed samples by heart."""

from __future__ import annotations

from server.domain.findings import Severity
from server.rules._preflight import PreflightRule
from server.rules.base import Stage


class OverfitTinyBatch(PreflightRule):
    """The run has a model that cannot learn eight fixed examples by heart

    ## What it does
    Preflight trains on the first 8 samples of a batch (16 where every position or pixel has a target) for up to 300
    steps, with your optimizer, without dropout and weight decay, and puts everything back. It passes where the loss
    comes within 5 % of the lowest that any output could reach for these targets (label smoothing and contradictory
    copies of a sample have a floor above 0), or within 30 % with every class right. Where it fails it tries ten times
    and a tenth of your rate, and Adam at 0.001: if one of those learns, the rate is named as the cause.

    ## Why it matters
    A network that cannot memorise eight samples will not learn eight million. Nearly every wiring mistake shows here,
    within seconds: a wrong loss, labels that belong to other inputs, a missing step, frozen or dead layers.

    ## What you see in the chart
    The loss of the eight samples by step, on the preflight page, with the lowest possible value as a line.

    ## What to try
    - Print one sample with its label. Do they belong together?
    - Check the order of the loss's arguments, `zero_grad`, `backward`, `step`, and what is frozen.
    - Only when the wiring is right: more capacity.

    ## Example
    ```python
    optimizer = Adam(model.encoder.parameters())     # wrong: the head never moves
    optimizer = Adam(model.parameters())             # right
    ```

    ## References
    - A. Karpathy, *A Recipe for Training Neural Networks* (2019): overfit one batch.
    - Ben Braiek & Khomh 2023, *TheDeepChecker*: 16 samples, loss below 1e-5. The limits here are ours, because
      smoothed labels never get there.
    """

    code = "GW101"
    name = "overfit-tiny-batch"
    severity = Severity.ERROR
    chart = "loss"
    stage = Stage.STOPPED  # a faulty loss, loader or layer explains it
    exact = False
