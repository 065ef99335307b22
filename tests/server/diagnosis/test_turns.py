"""Turns of runs that the diagnosis knows: what is read of many at once, and that it makes no difference."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.diagnosis import Diagnosis
from server.domain.runs import NewRun
from tests.server.house import RUN, House, house
from tests.server.store.kit import frame, group

RUNS = [f"{RUN[:-2]}{number}" for number in range(10, 30)]
NAN = float("nan")
FALLING = [2.0, 1.9, 1.8]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as built:
        yield built


def send(home: House, run_id: str, seq: int, losses: list[float], **more: Any) -> None:
    first = more.pop("first", 3 * seq)
    steps = range(first, first + len(losses))
    home.store.frames.accept(frame(seq, group({"loss": losses}, steps), run_id=run_id, **more))


def diagnosis_of(home: House) -> Diagnosis:
    services = home.app.state.services
    return Diagnosis(home.store, services.live, services.registry, home.clock)


def findings(home: House, run_id: str) -> list[tuple[Any, ...]]:
    return [
        (item.attempt, item.code, item.state, item.ranks, item.first_step, item.raised_step, item.message)
        for item in home.store.findings.list(run_id)
    ]


def all_done(diagnosis: Diagnosis) -> int:
    count = 0
    while done := diagnosis.run_once():
        count += done
    return count


def test_runs_that_are_known_are_asked_for_together(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    diagnosis = diagnosis_of(home)
    for run_id in RUNS:
        home.store.runs.open(NewRun(run_id, "a1", started_ms=1), 1)
        send(home, run_id, 0, [2.0] * 3)
    assert all_done(diagnosis) == len(RUNS)
    alone: list[tuple[Any, ...]] = []
    since = home.store.frames.since
    monkeypatch.setattr(home.store.frames, "since", lambda *where, **more: alone.append(where) or since(*where, **more))
    for seq in (1, 2):
        for number, run_id in enumerate(RUNS):
            send(home, run_id, seq, [2.0, NAN if number == 3 and seq == 2 else 2.0, 2.0])
        assert all_done(diagnosis) == len(RUNS)
    assert alone == []
    assert [run_id for run_id in RUNS if findings(home, run_id)] == [RUNS[3]]
    assert {run.diagnosed_step for run in map(home.store.runs.get, RUNS) if run} == {8}


def test_a_session_goes_as_soon_as_nobody_holds_it(home: House) -> None:
    """Its many objects are in no cycle: the collector, which would have to look at each, is not needed."""
    run_id, diagnosis = RUNS[0], diagnosis_of(home)
    home.store.runs.open(NewRun(run_id, "a1", started_ms=1), 1)
    for seq in range(20):
        send(home, run_id, seq, [2.0, 1.9, NAN if seq > 10 else 1.8])
        all_done(diagnosis)
    assert findings(home, run_id)
    session = diagnosis._sessions[run_id]
    engine = session._parts[1].engine
    assert engine is not None
    held = [weakref.ref(session), weakref.ref(engine), weakref.ref(engine.evidence)]
    del session, engine
    gc.disable()
    try:
        home.store.runs.delete(run_id)
        diagnosis.diagnose(run_id)
        assert [item() for item in held] == [None] * 3
    finally:
        gc.enable()


def test_attempts_ranks_gaps_and_many_frames_are_read_as_without_haste(home: House) -> None:
    """What is read ahead is the newest attempt's, and a little: everything else is asked for as ever."""
    run_id, quick = RUNS[0], diagnosis_of(home)
    home.store.runs.open(NewRun(run_id, "a1", started_ms=1), 1)
    send(home, run_id, 0, FALLING)
    all_done(quick)
    for seq in range(1, 12):
        send(home, run_id, seq, FALLING)
    all_done(quick)
    for seq in (13, 14):
        send(home, run_id, seq, [NAN] * 3)
    all_done(quick)
    assert findings(home, run_id) == []
    send(home, run_id, 12, FALLING)
    all_done(quick)
    assert [item[1] for item in findings(home, run_id)] == ["GW601"]
    home.store.runs.open(NewRun(run_id, "a2", started_ms=2), 2)
    for seq in range(3):
        send(home, run_id, seq, FALLING, attempt="a2")
        send(home, run_id, 15 + seq, FALLING)  # of the first attempt, late
        all_done(quick)
    for seq in range(2):
        send(home, run_id, seq, FALLING, attempt="a2", rank=1)
        send(home, run_id, 3 + seq, FALLING, attempt="a2")
        all_done(quick)
    checks = {item.code: item.reason for item in home.store.findings.checks(run_id)}
    assert "the training is one process" not in checks.values()
    live = findings(home, run_id)
    home.store.frames.accept(frame(5, run_id=run_id, attempt="a2"))
    all_done(diagnosis_of(home))  # one that reads everything from the start
    assert findings(home, run_id) == live
    assert {item.code: item.reason for item in home.store.findings.checks(run_id)} == checks
