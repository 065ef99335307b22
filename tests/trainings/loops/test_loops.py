"""Each kind of loop: the same bits with and without the hook, the norms of float64 by hand, the row in the README."""

from __future__ import annotations

import pytest

from tests.trainings.loops import table
from tests.trainings.loops.kit import Loop


@pytest.mark.filterwarnings(
    "ignore:`torch.jit:DeprecationWarning", "ignore:Dynamo does not", "ignore:The .grad attribute"
)
@pytest.mark.parametrize("loop", table.LOOPS, ids=lambda loop: loop.name)
def test_h8_the_numbers_are_right_and_nothing_is_changed(loop: Loop) -> None:
    outcome = loop.measure()
    assert outcome.same_bits, "losses, weights and the random generator are the same with and without the hook"
    assert outcome.worst <= 1e-6, f"a norm is off by {outcome.worst:.1e}"
    assert outcome.untold == [], "every step's norms arrive, and none of a step that was left out"
    assert {key: outcome.meaning.get(key) for key in loop.meaning} == dict(loop.meaning)
    assert table.row(loop.name, outcome) in table.written(), "run: python -m tests.trainings.loops.table"


def test_the_table_has_no_other_rows() -> None:
    assert table.names_written() == [loop.name for loop in table.LOOPS]
