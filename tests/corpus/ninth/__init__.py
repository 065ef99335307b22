"""Holds the ninth set of trainings that no rule was tuned on: whole scripts again, of another author's subjects.

It was written and committed before any rule judged one of them. A rule that is changed because of one of them makes
that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.ninth.faults import FAULTS
from tests.corpus.ninth.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset(
    {
        "sun-of-six-hours",
        "sun-warm-restarts",
        "sun-already-seen",
        "balls-caught",
        "balls-logarithm-of-a-wall",
        "cracks-overlap-of-scores",
        "answers-cut-off",
        "topics-in-four-pieces",
        "topics-rate-of-next-to-nothing",
        "suburb-in-dollars",
        "tower-of-sigmoids",
        "tower-from-a-bell",
        "sketches-mean-beside-a-sum",
        "clicks-those-who-did-first",
    }
)

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
