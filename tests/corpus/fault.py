"""What a faulty training is: a healthy one with one mistake in it, its root cause, and where people made it.

Not for: the list of them (faults).
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.corpus.setup import Setup

AT_FIRST_EVALUATION = -1


@dataclass(frozen=True)
class Fault:
    """One mistake."""

    setup: Setup
    root: tuple[str, ...]
    source: str
    symptoms: tuple[str, ...] = ()
    remark: bool = False  # it is harmless: to warn of it would be wrong
    begins: int = 0  # the first step at which there is anything to see of it: a later phase, or AT_FIRST_EVALUATION


KARPATHY = "A. Karpathy, the most common neural net mistakes (2018)"
DISCUSS = "discuss.pytorch.org/t/cross-entropy-loss-is-not-decreasing/43814"
SCALING = "machinelearningmastery.com, improve neural network stability with data scaling"
DEEPCHECKER = "TheDeepChecker (Ben Braiek & Khomh 2023), catalogue of faults"
UMLAUT = "UMLAUT (Schoop et al. 2021), catalogue of errors"
AUTOTRAINER = "AutoTrainer (Zhang et al. 2021), training problems"
