"""Holds the fourteenth set of trainings that no rule was tuned on: odd but right loops, and common mistakes in them.

It was written and committed before any rule judged one of them. A rule that is changed because of one of them makes
that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.fourteenth.faults import FAULTS
from tests.corpus.fourteenth.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset()

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
