"""What may be said of a run that is made of another logger's curves: loss, validation and rate, at any pace, alone.

Most rules rest on what the hook knows besides: what the loss is, what the optimizer does, that no step is missing. Of
such a run they are not asked; of those that are, some can be wrong where two networks play against each other or an
agent makes its own data, and only remark. Held against the healthy and the sick trainings of the corpus.
"""

from __future__ import annotations

from dataclasses import replace

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict

IMPORTED = "imported"  # the fact that says so
FINDINGS = frozenset({"GW601", "GW801"})
REMARKS = frozenset({"GW205", "GW206", "GW208", "GW209", "GW211", "GW415"})
ALONE = NotEvaluated(
    "the run is made of another logger's curves, which do not tell what this needs",
    "train with the hook: monitor = watch(model, optimizer)",
)


def are_too_little(code: str, window: Window) -> bool:
    """Says whether a run has curves alone, and a rule needs more."""
    return code not in FINDINGS | REMARKS and bool(window.fact(IMPORTED))


def softened(code: str, answer: Verdict, window: Window) -> Verdict:
    """Gives a verdict as it may be told: of curves alone some are remarks."""
    return replace(answer, severity=Severity.INFO) if code in REMARKS and window.fact(IMPORTED) else answer
