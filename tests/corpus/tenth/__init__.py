"""Holds the tenth set of trainings that no rule was tuned on: whole scripts as courses and notebooks have them.

It was written and committed before any rule judged one of them. A rule that is changed because of one of them makes
that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.tenth.faults import FAULTS
from tests.corpus.tenth.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset(
    {
        "energy-variance-may-be-negative",
        "gpt-adds",
        "iris-split-in-its-order",
        "patients-by-risk",
        "tumours-by-lbfgs",
    }
)

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
