"""Holds the fourteenth set of trainings that no rule was tuned on: odd but right loops, and common mistakes in them.

It was written and committed before any rule judged one of them. A rule that is changed because of one of them makes
that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.fourteenth.faults import FAULTS
from tests.corpus.fourteenth.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset(
    {
        "brackets-mask-inverted",
        "cloth-rate-of-three",
        "coins-heeded-over-the-batch",
        "digits-by-closure",
        "digits-by-closure-and-tanh",
        "fares-without-the-point",
        "five-lessons",
        "five-lessons-anchored",
        "heater-critic-rate-of-one",
        "neighbours-rate-of-word2vec",
        "new-pen-half-frozen",
        "new-pen-trunk-frozen",
        "parcels-in-seconds",
        "regions-softmax-over-the-batch",
        "regions-softmax-over-the-width",
        "regions-spread-of-a-thousandth",
        "tags-without-partition",
        "two-pens",
        "two-pens-without-ramp",
    }
)

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
