"""Holds the ninth set of trainings that no rule was tuned on: whole scripts again, of another author's subjects.

It was written and committed before any rule judged one of them. A rule that is changed because of one of them makes
that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.ninth.faults import FAULTS
from tests.corpus.ninth.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset(
    {
        "answers-cut-off",
        "balls-caught",
        "balls-logarithm-of-a-wall",
        "clicks-those-who-did-first",
        "cracks-overlap-of-scores",
        "glyphs-momentum-of-contrib",
        "glyphs-never-evaluated",
        "irises-numbered-twice",
        "sketches-mean-beside-a-sum",
        "suburb-in-dollars",
        "sun-already-seen",
        "sun-of-six-hours",
        "sun-warm-restarts",
        "topics-in-four-pieces",
        "topics-rate-of-next-to-nothing",
        "tower-from-a-bell",
        "tower-of-eighty-four",
        "tower-of-sigmoids",
    }
)

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
