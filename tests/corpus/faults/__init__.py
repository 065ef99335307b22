"""Faulty trainings: a healthy one with one mistake in it, what its root cause is called, and where people made it.

`root` names the codes that would be right as the cause (the first is the best name); `symptoms` what may show below it.
The repaired twin of a fault is the healthy original.
"""

from __future__ import annotations

from tests.corpus.fault import Fault
from tests.corpus.faults.of_data import DATA
from tests.corpus.faults.of_phases import PHASES
from tests.corpus.faults.of_records import RECORDS
from tests.corpus.faults.of_signs import SIGNS
from tests.corpus.faults.of_structure import STRUCTURE
from tests.corpus.faults.of_training import TRAINING

FAULTS: dict[str, Fault] = {**DATA, **STRUCTURE, **TRAINING, **SIGNS, **RECORDS, **PHASES}
