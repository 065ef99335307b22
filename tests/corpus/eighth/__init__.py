"""Holds the eighth set of trainings that no rule was tuned on: whole scripts of the seventh's author, all others.

It was written and committed before any rule judged one of them. A rule that is changed because of one of them makes
that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.eighth.faults import FAULTS
from tests.corpus.eighth.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset({"lenet-divided-twice", "road-weights-averaged", "shop-in-pairs"})

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
