"""Faults of the eleventh held-out set."""

from __future__ import annotations

from tests.corpus.eleventh.mishandled import MISHANDLED
from tests.corpus.eleventh.spoilt import SPOILT
from tests.corpus.fault import Fault

FAULTS: dict[str, Fault] = SPOILT | MISHANDLED
