"""Holds the fifteenth set of trainings that no rule was tuned on: ordinary programs with ordinary faults.

Faults stand in about the proportions of the published studies of faults in programs that learn. It was written and
committed before any rule judged one of them. A rule that is changed because of one of them makes that one part of the
corpus: name it in ADOPTED.
"""

from tests.corpus.fifteenth.faults import FAULTS
from tests.corpus.fifteenth.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset(
    {
        "cloth-through-one-unit",
        "digits-all-frozen",
        "machines-begin-too-small",
        "machines-cleared-each-epoch",
        "numbers-see-the-answer",
        "roof-yields-in-watts",
        "surnames-adam-of-three-tenths",
        "surnames-plain-rnn-without-clipping",
        "weather-hours-shuffled-apart",
        "words-softmax-over-words",
    }
)

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
