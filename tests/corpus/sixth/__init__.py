"""Holds the sixth set of trainings that no rule was tuned on: more whole scripts, of other data, models and mistakes.

It was written and committed before any rule judged one of them. A rule that is changed because of one of them makes
that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.sixth.faults import FAULTS
from tests.corpus.sixth.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset(
    {
        "bikes-registered-left-in",
        "tides-answer-in-the-window",
        "bikes-validated-in-degrees",
        "roads-not-weighed",
        "films-cross-entropy-of-many",
        "twins-zero-or-one",
        "chords-turned-the-wrong-way",
        "words-uncovered-or-not",
        "tiles-left-frozen",
        "birds-pieces-not-averaged",
        "bikes-cycle-counts-rows",
        "numbers-encoder-never-steps",
        "tumours-relu-before-sigmoid",
    }
)

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
