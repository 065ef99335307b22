"""Holds the twelfth set of trainings that no rule was tuned on: whole scripts as repositories and companies have them.

It was written and committed before any rule judged one of them. A rule that is changed because of one of them makes
that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.twelfth.faults import FAULTS
from tests.corpus.twelfth.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset(
    {
        "adapters-by-a-wrong-name",
        "anchors-momentum-of-ninety-nine",
        "answers-softmax-over-questions",
        "blocks-cosine-in-epochs",
        "blocks-step-out-of-the-if",
        "books-factors-of-deviation-one",
        "boxes-in-pixels-of-a-whole",
        "calls-rate-of-any-sign",
        "clicks-by-deepfm",
        "code-clipped-before-backward",
        "code-mask-upside-down",
        "code-rate-of-a-tenth",
        "code-without-mask",
        "commands-logarithm-of-silence",
        "digits-all-in-halves",
        "digits-by-codebook",
        "engine-milestones-by-batch",
        "heartbeats-residual",
        "lines-reshaped-not-permuted",
        "load-as-metered",
        "load-by-transformer",
        "load-hour-by-hour",
        "nuclei-overlap-of-hard-masks",
        "parcels-column-minus-row",
        "sales-spread-of-any-sign",
        "shop-compares-with-itself",
        "student-listens-to-nobody",
        "triplets-margin-of-zero",
        "views-nobody-holds-still",
    }
)

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
