"""Holds the first set of trainings that no rule was tuned on: other data, models, optimizers and seeds.

A rule that is changed because of one of them makes that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.first.faults import FAULTS
from tests.corpus.first.healthy import HEALTHY

# A rule was changed because of these: they belong to the corpus now, and are held out no more.
ADOPTED = frozenset(
    {
        "encoder",
        "letters-lstm-radam",
        "encoder-rate-too-high",
        "friedman-in-thousands",
        "shapes-sorted",
        "few-examples-by-heart", "encoder-scores-grow", "resnet-radam",
        "shapes-all-equal-start",
    }
)  # fmt: skip

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
