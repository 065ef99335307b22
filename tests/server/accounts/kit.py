"""What the tests of accounts share."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from server.accounts import passwords


def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a password cost next to nothing; what it costs has a test of its own."""
    passwords._nobodys.cache_clear()
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
