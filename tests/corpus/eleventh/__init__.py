"""Holds the eleventh held-out set of trainings that no rule was tuned on: whole scripts from many fields.

It was written and committed before any rule judged one of them. A rule that is changed because of one of them makes
that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.eleventh.faults import FAULTS
from tests.corpus.eleventh.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset(
    {
        "boxes-in-pixels",
        "boxes-mean-of-none",
        "clicks-time-on-the-page",
        "competition-weights-decayed",
        "deaths-mean-of-none",
        "genes-by-motifs",
        "illness-prior-at-each-batch",
        "poles-all-chance",
        "spring-all-equation",
        "sums-forgotten",
    }
)

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
