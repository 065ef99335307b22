"""Holds the thirteenth set of trainings that no rule was tuned on: the programs on which tools for faults were judged.

Questions of learners and repairs of repositories, written anew. It was written and committed before any rule judged one
of them. A rule that is changed because of one of them makes that one part of the corpus: name it in ADOPTED.
"""

from tests.corpus.thirteenth.faults import FAULTS
from tests.corpus.thirteenth.healthy import HEALTHY

ADOPTED: frozenset[str] = frozenset(
    {
        "figures-begin-too-large",
        "figures-begin-too-small",
        "figures-normed-in-twos",
        "first-sign-lost-by-rnn",
        "frauds-not-weighed",
        "gpt-adam-of-a-tenth",
        "sine-relu-at-the-end",
        "tumours-rounded",
        "xor-rate-too-low",
        "xor-without-activation",
    }
)

__all__ = ["ADOPTED", "FAULTS", "HEALTHY"]
