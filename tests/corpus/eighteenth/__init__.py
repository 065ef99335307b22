"""Holds the eighteenth set of trainings that no rule was tuned on: programs of the size that people really train.

It was written and committed before any rule judged one of them. A rule that is changed because of one of them makes
that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.eighteenth.faults import FAULTS
from tests.corpus.eighteenth.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset({"digits-by-dcgan", "digits-dcgan-cut-off", "homes-by-a-wide-net"})

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
