"""Holds the fifth set of trainings that no rule was tuned on: whole scripts, as people write them, and what goes wrong.

It was written and committed before any rule judged one of them. A rule that is changed because of one of them makes
that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.fifth.faults import FAULTS
from tests.corpus.fifth.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset(
    {
        "titanic-minus-9999",
        "titanic-boat-column",
        "entities-padded-to-the-longest",
        "levels-two-units-wide",
        "letters-rate-of-a-third-at-once",
        "levels-rate-as-factor",
        "elbo-of-the-wrong-sign",
        "prices-l1-of-everything",
        "pendulum-pushed-by-tanh",
        "names-rate-of-a-half",
        "mnist-twenty-layers",
        "claims-counted",
        "iris-not-shuffled",
        "frauds-as-they-come",
        "heartbeats-two-encoders",
    }
)

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
