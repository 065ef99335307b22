"""What the tests of the hook share."""

from __future__ import annotations

import pytest

from client_hook import governor


@pytest.fixture(autouse=True)
def measure_all_of_the_first_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures the first steps in full, however slow the machine: what they hold is the subject, not what they cost."""
    monkeypatch.setattr(governor, "FIRST_STEPS_S", 120.0)
