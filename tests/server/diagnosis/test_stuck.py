"""A process that lives and a loop that stands still: when that is told, when it is not, and what takes it back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.diagnosis import Diagnosis
from server.domain.runs import RunState
from tests.server.house import RUN, House, house

HEARTBEAT_S = 10


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as built:
        built.open_run()
        yield built


class Training:
    """Sends steps, and between them what the hook's own thread sends: figures of the machine, or a heartbeat."""

    def __init__(self, home: House, step_s: float = 0.5, *, measures: bool = True) -> None:
        self.home, self.step_s, self.measures = home, step_s, measures
        self.seq = self.step = 0
        services = home.app.state.services
        self.diagnosis = Diagnosis(home.store, services.live, services.registry, home.clock)

    def steps(self, count: int, times: list[float] | None = None) -> None:
        series = {"loss": [1.0] * count, "time/step": times or [self.step_s] * count}
        self.send(series, first_step=self.step)
        self.step += count

    def send(self, series: dict[str, list[float]], *, first_step: int, records: Any = None) -> None:
        assert self.home.send(self.seq, series, first_step=first_step, records=records).status_code == 200
        self.seq += 1

    def tell(self, kind: str, name: str, value: Any) -> None:
        record = {"kind": kind, "name": name, "step": self.step - 1, "time_ms": self.home.clock(), "value": value}
        self.send({}, first_step=self.step, records=[record])

    def wait(self, seconds: int) -> None:
        """Lets time pass; the hook's thread goes on."""
        for _ in range(0, seconds, HEARTBEAT_S):
            self.home.clock.now_ms += HEARTBEAT_S * 1000
            if self.measures:
                self.send({"system/cpu": [0.02]}, first_step=max(self.step - 1, 0))
            else:
                self.home.open_run()
            self.diagnosis.look_for_silence()
        while self.diagnosis.run_once():
            pass

    @property
    def state(self) -> RunState:
        run = self.home.store.runs.get(RUN)
        assert run is not None
        return run.state

    @property
    def told(self) -> list[str]:
        found = self.home.store.findings.list(RUN)
        return [item.message for item in found if item.code == "GW503" and item.state == "open"]


@pytest.mark.parametrize("measures", [True, False], ids=["figures of the machine", "heartbeats"])
def test_a_loop_that_stands_still_is_told_after_two_minutes_until_it_goes_on(home: House, measures: bool) -> None:
    training = Training(home, measures=measures)
    training.steps(60)
    training.wait(120)
    assert training.state is RunState.RUNNING
    training.wait(20)
    assert training.state is RunState.STUCK
    assert training.told == [
        "The process of the run lives, but its loop stands still since step 59; a step used to take 0.5 s"
    ]
    training.wait(600)
    assert training.state is RunState.STUCK, "signs of life of the hook's thread are none of the loop"
    assert home.client.get(f"/api/v1/runs/{RUN}").json()["state"] == "silent", "the states that programs know"
    assert [item["id"] for item in home.client.get("/api/v1/runs?state=silent").json()["items"]] == [RUN]
    training.steps(5)
    training.wait(0)
    while training.diagnosis.run_once():
        pass
    assert training.state is RunState.RUNNING
    assert training.told == []


def test_the_limit_follows_the_pace_of_the_training(home: House) -> None:
    training = Training(home, 40.0)
    training.steps(60)
    training.wait(390)
    assert training.told == []
    training.wait(30)
    assert len(training.told) == 1


def test_a_pause_that_was_there_before_is_none(home: House) -> None:
    training = Training(home)
    training.steps(600, [0.5] * 599 + [400.0])
    training.wait(590)
    assert training.told == []
    training.wait(30)
    assert len(training.told) == 1


@pytest.mark.parametrize("doing", ["evaluation", "saving"])
def test_an_evaluation_and_a_save_may_take_half_an_hour(home: House, doing: str) -> None:
    training = Training(home)
    training.steps(60)
    training.wait(30)
    training.tell("fact", "waiting", {"step": 59, "doing": doing, "batches": 60})
    training.wait(1790)
    assert training.told == []
    training.wait(60)
    assert len(training.told) == 1


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [("event", "validation", {"loss": 1.0}), ("event", "note", {"text": "still here"}),
     ("fact", "waiting", {"step": 59, "doing": None, "batches": 70})],
)  # fmt: skip
def test_a_word_of_the_loop_is_one_even_where_no_step_is_closed(home: House, kind: str, name: str, value: Any) -> None:
    training = Training(home)
    training.steps(60)
    for _ in range(5):
        training.wait(100)
        training.tell(kind, name, value)
    assert training.told == []
    training.wait(150)
    assert len(training.told) == 1


def test_a_start_may_take_half_an_hour(home: House) -> None:
    training = Training(home, measures=False)
    training.wait(1790)
    assert training.told == []
    training.wait(40)
    assert training.told == [
        "The process of the run lives, but its loop stands still since its start: no step was closed"
    ]


def test_a_stuck_run_whose_process_goes_is_silent(home: House) -> None:
    training = Training(home)
    training.steps(60)
    training.wait(200)
    assert training.state is RunState.STUCK
    home.clock.now_ms += 70_000
    training.diagnosis.look_for_silence()
    assert training.state is RunState.SILENT


def test_the_page_says_when_the_last_step_was(home: House) -> None:
    training = Training(home)
    training.steps(60)
    training.wait(660)
    page = home.client.get(f"/runs/{RUN}").text
    assert 'last step <strong class="number">11 min ago</strong>' in page
