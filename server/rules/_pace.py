"""Says when a rule that looks at a whole run looks again: ever more rarely, so that steps cost the same at any length.

Not for: rules that look at a window of fixed size.
"""

from __future__ import annotations

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated

LOOKS_PER_DOUBLING = 16

LATER = NotEvaluated("it looks at the whole run and is judged again a little later")


def due(window: Window, every: int) -> bool:
    """Says whether to look now: each time up to 512 samples, then 16 to 32 times while the run doubles."""
    if window.final or window.samples <= 32 * LOOKS_PER_DOUBLING:
        return True
    pace = max(every, (1 << (window.samples.bit_length() - 1)) // LOOKS_PER_DOUBLING)
    return window.samples // pace != (window.samples - every) // pace
