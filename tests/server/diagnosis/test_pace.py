"""The diagnosis leaves most of the time to frames while they come in, and no run keeps the others waiting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from server.diagnosis import Diagnosis
from server.diagnosis.pace import CALM, LONGEST_S, SHORTEST_S, Pace
from server.diagnosis.worker import TURN_S
from server.domain.runs import NewRun
from server.live import Live
from server.rules.registry import load_rules
from server.store import Store
from server.store.accepted import AcceptedFrame, AcceptedGroup
from tests.server.empty import put_database
from tests.server.store.kit import url_in


class Hand:
    """A clock that the test moves, a count of frames, and the rests that were taken."""

    def __init__(self) -> None:
        self.now_s, self.frames, self.rests = 100.0, 0, list[float]()

    def wait(self, seconds: float) -> bool:
        self.rests.append(seconds)
        self.now_s += seconds
        return False

    def pace(self) -> Pace:
        return Pace(lambda: self.frames, self.wait, lambda: self.now_s)


def test_the_more_comes_in_the_longer_it_rests() -> None:
    hand = Hand()
    pace = hand.pace()
    hand.now_s += 0.2
    pace.rest()  # nothing came: a tenth of 0.2 s
    assert hand.rests == pytest.approx([0.02])
    hand.now_s += 0.2
    hand.frames += 22  # in 0.22 s, the rest included: 100 a second, so 1.1 times 0.2 s
    pace.rest()
    assert hand.rests[1:] == pytest.approx([0.22])
    hand.now_s += 0.2
    hand.frames += 1_000  # four times the work is the most
    pace.rest()
    assert hand.rests[2:] == pytest.approx([0.8])


def test_short_work_needs_no_rest_until_it_adds_up_and_no_rest_is_long() -> None:
    hand = Hand()
    pace = hand.pace()
    for _ in range(2):
        hand.now_s += 0.6 * SHORTEST_S
        assert not pace.rest()
    assert hand.rests == pytest.approx([CALM * 1.2 * SHORTEST_S])
    hand.now_s += 60
    hand.frames += 6_000
    pace.rest()
    assert hand.rests[-1] == LONGEST_S


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    put_database(tmp_path / "gradwatch.db")
    opened = Store.open(url_in(tmp_path))
    yield opened
    opened.close()


def send(store: Store, run_id: str, seq: int, steps: np.ndarray, losses: np.ndarray, columns: int = 1) -> None:
    names = ("loss", *(f"grad_norm/layers.{index}.weight" for index in range(1, columns)))
    values = np.vstack([losses, np.ones((columns - 1, len(steps)))])
    group = AcceptedGroup(names, steps, steps + 1, values)
    store.frames.accept(AcceptedFrame(run_id, "a", 0, seq, seq, int(steps[-1]), 1, (group,), ()))


def test_a_run_with_a_burst_is_judged_in_turns_and_the_others_in_between(store: Store) -> None:
    """The time of a turn passes at each evaluation, so that the burst needs several turns."""
    burst, other = "burst", "other"
    for name in (burst, other):
        store.runs.open(NewRun(name, "a", started_ms=1), 1)
    losses = np.ones(64)
    for seq in range(24):
        send(store, burst, seq, np.arange(64 * seq, 64 * seq + 64), losses, columns=100)
    send(store, other, 0, np.arange(30), np.where(np.arange(30) == 29, np.nan, 1.0))
    now = [0.0]
    diagnosis = Diagnosis(store, Live(), load_rules(), lambda: 1_790_000_000_000, lambda: now[0])

    def evaluated() -> None:
        now[0] += TURN_S / 10

    assert diagnosis.run_once(rest=evaluated) == 2
    halfway = store.runs.get(burst)
    assert halfway is not None
    assert 0 < halfway.diagnosed_step < 64 * 24 - 1, "the turn was over before the burst was"
    assert "GW601" in [item.code for item in store.findings.list(other)]
    turns = 1
    while diagnosis.run_once(rest=evaluated):
        turns += 1
    done = store.runs.get(burst)
    assert done is not None
    assert (done.diagnosed_step, turns > 1) == (64 * 24 - 1, True)
    in_turns = [(item.code, item.message, item.first_step) for item in store.findings.list(burst)]
    from_the_start = Diagnosis(store, Live(), load_rules(), lambda: 1_790_000_000_000)
    from_the_start.diagnose(burst)
    assert [(item.code, item.message, item.first_step) for item in store.findings.list(burst)] == in_turns
