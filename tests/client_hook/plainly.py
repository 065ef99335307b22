"""What the tests of plain steps share: steps that stay plain, and whether they are."""

from __future__ import annotations

from typing import Any


def stay_plain(monitor: Any) -> None:
    """Lets nothing be measured any more, whatever this machine makes of the times."""
    governor = monitor._parts.recorder.governor
    after_step, plain_steps = governor.after_step, governor.plain_steps
    governor.after_step = lambda *given: after_step(*given) and False

    def seldom(*given: Any) -> bool:
        plain_steps(*given)
        governor.look_after = 16
        return False

    governor.plain_steps = seldom


def is_plain(monitor: Any) -> bool:
    return monitor._parts.recorder.plain is not None
