"""Holds the sixteenth set of trainings that no rule was tuned on: kinds of programs that earlier sets lack.

It was written and committed before any rule judged one of them. A rule that is changed because of one of them makes
that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.sixteenth.faults import FAULTS
from tests.corpus.sixteenth.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset(
    {
        "boards-of-noughts-one-move",
        "few-names-and-bolder-guesses",
        "few-names-and-guesses",
        "few-names-and-guesses-normed",
        "puck-by-actor-and-critics",
        "puck-by-evolution",
        "puck-by-evolution-and-sgd",
        "puck-by-warmer-actor",
        "views-adam-of-a-half",
        "wards-averaged",
        "wards-whose-news-is-dropped",
    }
)

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
