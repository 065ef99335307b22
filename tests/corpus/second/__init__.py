"""Holds the second set of trainings that no rule was tuned on: other tasks, losses, loops and optimizers again.

A rule that is changed because of one of them makes that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.second.faults import FAULTS
from tests.corpus.second.healthy import HEALTHY

# A rule was changed because of these: they belong to the corpus now, and are held out no more.
ADOPTED = frozenset(
    {
        "decay-as-a-penalty-of-one",
        "digits-arc",
        "digits-sharpness",
        "experts-top-one",
        "income-in-euros",
        "letters-masked",
        "line-one-by-one",
        "load-batch-first-forgotten",
        "one-in-two-hundred",
        "rings-wasserstein",
        "two-in-five-flipped",
    }
)  # fmt: skip

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
