"""Holds the fourth set of trainings that no rule was tuned on: what people train every day, and get wrong every day.

It was written and committed before any rule judged one of them. A rule that is changed because of one of them makes
that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.fourth.faults import FAULTS
from tests.corpus.fourth.healthy import HEALTHY

ADOPTED = frozenset(
    {
        "churn-day-of-leaving",
        "pictures-decay-of-one-in-adam",
        "pictures-validation-not-normalised",
        "roll-starts-from-zero-to-one",
        "sales-in-pieces",
        "sales-of-a-growing-shop",
        "tumours-in-halves",
        "tumours-in-training-mode-once",
    }
)

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
