"""What the tests of the hook share."""

from __future__ import annotations

from functools import cache

import pytest

from client_hook import governor
from client_hook.capture import environment


@pytest.fixture(autouse=True)
def measure_all_of_the_first_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures the first steps in full, however slow the machine: what they hold is the subject, not what they cost."""
    monkeypatch.setattr(governor, "FIRST_STEPS_S", 120.0)


@pytest.fixture(autouse=True)
def read_the_environment_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks git and looks through the packages once for all tests that are about something else."""
    if request.path.name != "test_facts.py":
        monkeypatch.setattr(environment, "_packages", packages)
        monkeypatch.setattr(environment, "read_git", git)


packages, git = cache(environment._packages), cache(environment.read_git)
