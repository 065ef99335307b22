"""A remark about one change of a value is taken back where the value goes on changing: that is a schedule."""

from __future__ import annotations

from server.rules.hyperparameter_changed import HyperparameterChanged
from tests.server.rules.shorthand import Case

SERIES = {"loss": "1x400", "momentum/0": "0.9x50 0.91x150 0.92x50 0.93x50 0.94x100"}


def _remarks(upto: int) -> list[tuple[str, bool]]:
    engine = Case("steps of momentum", "", "", series=SERIES).engine(HyperparameterChanged())
    engine.evidence.complete = upto
    engine.advance()
    return [(finding.verdict.message, finding.open) for finding in engine.findings]


def test_a_change_that_turns_out_to_be_a_schedule_is_taken_back() -> None:
    said = "momentum/0 changed from 0.9 to 0.91 at step 50"
    assert _remarks(90) == []
    assert _remarks(199) == [(said, True)]
    assert _remarks(260) == [(said, True)]
    assert _remarks(399) == [(said, False)]
