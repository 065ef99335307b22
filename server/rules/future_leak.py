"""GW104: before training, a causal model saw later tokens."""

from __future__ import annotations

from server.domain.findings import Severity
from server.rules._preflight import PreflightRule


class FutureLeak(PreflightRule):
    """The run has a causal model whose answers depend on later tokens

    ## What it does
    Where the targets are the inputs moved by one token (or the model is declared causal), preflight replaces the second
    half of every sequence in evaluation mode and compares the answers for the first half. A change above 0.001 of the
    answers' size is an error. Models that may look both ways are not tested.

    ## Why it matters
    The model reads the answer from its input: the loss falls towards 0, and generated text is nonsense.

    ## What you see in the chart
    The change by position, on the preflight page: it must be 0 up to the mark in the middle.

    ## What to try
    - Pass the causal mask (`is_causal=True`), and check which triangle of it is masked.
    - Look for a normalisation or a convolution that runs over time.

    ## Example
    ```python
    scaled_dot_product_attention(q, k, v)                     # wrong in a language model
    scaled_dot_product_attention(q, k, v, is_causal=True)     # right
    ```

    ## References
    - Vaswani et al. 2017, *Attention Is All You Need*: the mask of the decoder.
    - 0.001 is ours.
    """

    code = "GW104"
    name = "future-leak"
    severity = Severity.ERROR
    chart = "loss"
