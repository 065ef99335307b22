"""What the log says of something that fails again and again."""

from __future__ import annotations

import logging

import pytest

from server.trouble import Trouble

LOG = logging.getLogger("tests.trouble")


def test_a_failure_is_said_once_in_five_minutes_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    seconds = [0.0]
    trouble = Trouble(LOG, "The diagnosis", lambda: seconds[0])
    trouble.over()
    for _ in range(3):
        trouble.came("no database")
    assert caplog.messages == ["The diagnosis pauses: no database"]
    trouble.over()
    trouble.over()
    assert caplog.messages[1:] == ["The diagnosis goes on"]
    trouble.came("no database")
    trouble.over()
    assert len(caplog.messages) == 2, "what fails every other second does not fill the log"
    seconds[0] = 300.0
    trouble.came("no disk")
    assert caplog.messages[2:] == ["The diagnosis pauses: no disk"]
