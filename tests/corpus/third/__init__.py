"""Holds the third set of trainings that no rule was tuned on, written and committed before any rule judged one of them.

A rule that is changed because of one of them makes that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.third.faults import FAULTS
from tests.corpus.third.healthy import HEALTHY

ADOPTED = frozenset(
    {
        "answer-left-in-the-table",
        "attacked-digits",
        "captions-without-temperature",
        "clicks-clamped",
        "clouds-softmax-over-the-batch",
        "codes-are-no-parameter",
        "keeps-every-graph",
        "letters-see-the-future",
        "likes-embeddings-of-size-one",
        "long-filters",
        "low-rank-both-zero",
        "norms-kept",
        "norms-kept-at-a-training-rate",
        "patches-adam-for-adamw",
        "patches-at-the-rate-of-sgd",
        "plateau-of-the-wrong-side",
        "preferences",
        "seldom-sampled",
        "seldom-weights-of-classes",
        "sentences-mask-inverted",
        "support-vectors-zero-or-one",
        "tags-padded-to-ninety-six",
        "task-weights-not-optimised",
        "thawed-but-not-optimised",
        "three-tasks-weighed",
    }
)

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
