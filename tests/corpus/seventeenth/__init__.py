"""Holds the seventeenth set of trainings that no rule was tuned on: most of them healthy, of odd kinds or odd settings.

It was written and committed before any rule judged one of them. A rule that is changed because of one of them makes
that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.seventeenth.faults import FAULTS
from tests.corpus.seventeenth.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset(
    {
        "digits-by-capsules",
        "digits-recalled",
        "digits-recalled-in-two-rounds",
        "everyday-a-thousand-names",
        "everyday-batches-of-two",
        "everyday-rate-of-one",
        "everyday-warm-for-long",
        "tales-in-pieces-of-many-signs",
    }
)

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
