"""Holds the twelfth set of trainings that no rule was tuned on: whole scripts as repositories and companies have them.

It was written and committed before any rule judged one of them. A rule that is changed because of one of them makes
that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.twelfth.faults import FAULTS
from tests.corpus.twelfth.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset()

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
