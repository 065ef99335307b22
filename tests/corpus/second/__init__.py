"""Holds the second set of trainings that no rule was tuned on: other tasks, losses, loops and optimizers again.

A rule that is changed because of one of them makes that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.second.faults import FAULTS
from tests.corpus.second.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset()

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
