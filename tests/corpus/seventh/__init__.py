"""Holds the seventh set of trainings that no rule was tuned on: whole scripts once more, of other data and mistakes.

It was written and committed before any rule judged one of them. A rule that is changed because of one of them makes
that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.seventh.faults import FAULTS
from tests.corpus.seventh.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset(
    {
        "hearts-eight-sigmoids",
        "moons-by-a-flow",
        "roll-time-to-a-thousand",
        "sorts-rate-at-once",
        "sorts-what-it-reads",
        "strips-raw-scores",
        "views-stopped-slope",
    }
)

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
