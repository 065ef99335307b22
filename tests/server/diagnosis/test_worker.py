"""The diagnosis in the house: from frames to findings in the store, late frames, attempts, silence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.diagnosis import Diagnosis, DiagnosisWorker
from server.diagnosis.listening import Listening
from server.diagnosis.session import FIRST_FRAMES
from server.domain.runs import DiagnosisState, NewRun, RunState
from server.errors import StoreError
from tests.server.house import ATTEMPT, RUN, House, frame_bytes, house
from tests.serving import wait_until

SECOND = "0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e79"
FINISHED = {"kind": "status", "name": "finished", "step": 99, "time_ms": 1, "value": {}}
NAN = float("nan")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as built:
        built.open_run()
        yield built


def run(home: House):
    found = home.store.runs.get(RUN)
    assert found is not None
    return found


def codes(home: House, state: str = "open") -> list[str]:
    return [finding.code for finding in home.store.findings.list(RUN) if finding.state == state]


def since(home: House) -> list[int]:
    return [finding.first_step for finding in home.store.findings.list(RUN) if finding.state == "open"]


def test_frames_become_findings_and_a_verdict(home: House) -> None:
    home.send(0, {"loss": [2.0, 1.9, NAN, NAN]})
    home.diagnose()
    assert codes(home) == ["GW601"]
    assert run(home).diagnosis is DiagnosisState.LIVE
    assert run(home).diagnosed_step == 3
    assert run(home).verdict == "The loss became NaN at step 2, after 1.9"


def test_the_top_line_says_of_a_symptom_that_its_cause_is_not_known(home: House) -> None:
    home.send(0, {"loss": [2.0, 2.02, 1.98] * 60}, records=[FINISHED])
    home.diagnose()
    assert "GW206" in codes(home)
    assert run(home).verdict.startswith("After 180 steps the loss shows no progress")
    assert "The cause was not found: look first at" in run(home).verdict


def test_the_end_makes_it_final_and_a_late_frame_live_again(home: House) -> None:
    home.send(0, {"loss": [2.0] * 50})
    home.send(2, {"loss": [1.0] * 10}, first_step=60, records=[FINISHED])
    home.diagnose()
    home.send(1, {"loss": [1.5] * 10}, first_step=50)
    assert run(home).diagnosis is not DiagnosisState.FINAL
    home.diagnose()
    assert run(home).diagnosis is DiagnosisState.FINAL
    assert run(home).diagnosed_step == 69


def test_nothing_beyond_a_gap_is_judged_before_the_gap_is_filled(home: House) -> None:
    home.send(0, {"loss": [2.0] * 5})
    home.send(2, {"loss": [NAN] * 5}, first_step=10)
    home.diagnose()
    assert codes(home) == []
    assert run(home).diagnosed_step == 4
    home.send(1, {"loss": [2.0] * 5}, first_step=5)
    home.diagnose()
    assert codes(home) == ["GW601"]


def test_at_the_end_a_gap_hides_nothing_and_what_fills_it_is_judged_in_its_place(home: House) -> None:
    """After a restore the server never gets the frames again that it had acknowledged since the backup."""
    home.send(0, {"loss": [2.0] * 50})
    home.send(2, {"loss": [2.0] * 10 + [NAN] * 5}, first_step=60)
    home.send(4, {"loss": [NAN] * 5}, first_step=80, records=[FINISHED])
    home.diagnose()
    assert codes(home) == ["GW601"]
    assert run(home).diagnosis is DiagnosisState.FINAL
    assert run(home).diagnosed_step == 84
    assert since(home) == [70]
    home.send(1, {"loss": [2.0] * 5 + [NAN] * 5}, first_step=50)
    home.diagnose()
    assert since(home) == [55]
    assert run(home).diagnosed_step == 84


def test_a_new_attempt_answers_for_itself_and_the_old_findings_become_history(home: House) -> None:
    home.send(0, {"loss": [2.0, NAN, NAN]})
    home.diagnose()
    home.open_run(attempt=SECOND, started_ms=home.clock() + 1_000)
    body = frame_bytes(0, {"loss": [2.0 - 0.01 * step for step in range(30)]}, attempt=SECOND)
    kind = {"Content-Type": "application/vnd.gradwatch.frame"}
    assert home.client.post(f"/api/v1/runs/{RUN}/frames", content=body, headers=kind).status_code == 200
    home.diagnose()
    assert (codes(home), codes(home, "resolved")) == ([], ["GW601"])


def test_a_run_that_says_nothing_for_a_minute_is_silent_and_judged_to_its_end(home: House) -> None:
    home.send(0, {"loss": [2.0] * 30})
    home.diagnose()
    services = home.app.state.services
    diagnosis = Diagnosis(home.store, services.live, services.registry, home.clock)
    home.clock.now_ms += 59_000
    diagnosis.look_for_silence()
    assert run(home).state is RunState.RUNNING
    home.clock.now_ms += 2_000
    diagnosis.look_for_silence()
    home.diagnose()
    assert run(home).state is RunState.SILENT
    assert run(home).diagnosis is DiagnosisState.FINAL
    home.send(1, {"loss": [1.9] * 5}, first_step=30)
    home.diagnose()
    assert run(home).state is RunState.RUNNING
    assert run(home).diagnosis is DiagnosisState.LIVE


def test_another_process_goes_on_with_the_same_findings(home: House) -> None:
    home.send(0, {"loss": [2.0, NAN, NAN]})
    home.diagnose()
    numbers = [finding.number for finding in home.store.findings.list(RUN)]
    home.store.findings.patch(RUN, numbers[0], acknowledged=True)
    home.send(1, {"loss": [NAN] * 3}, first_step=3)
    home.diagnose()  # a new Diagnosis, which replays from the store
    again = home.store.findings.list(RUN)
    assert [finding.number for finding in again] == numbers
    assert again[0].acknowledged
    assert again[0].last_step == 5


def test_check_gives_the_same_findings_as_live(home: House) -> None:
    for seq in range(20):
        home.send(seq, {"loss": [2.0 - seq * 0.05] * 9 + [NAN if seq == 12 else 1.0]}, first_step=seq * 10)
        home.diagnose()
    live = [(item.code, item.message, item.first_step) for item in home.store.findings.list(RUN)]
    services = home.app.state.services
    from server.diagnosis.session import Session

    session = Session(home.store, services.registry, RUN)
    session._saved = {}
    assert session.read()
    session.judge(ended=False)
    replayed = [(item.code, item.message, item.first_step) for item in session.outcome().changed]
    assert replayed == live


def test_the_worker_thread_finds_by_itself_and_stops(home: House) -> None:
    services = home.app.state.services
    worker = DiagnosisWorker(Diagnosis(home.store, services.live, services.registry, home.clock), interval_s=0.01)
    worker.start()
    home.send(0, {"loss": [2.0, NAN, NAN]})
    wait_until(lambda: codes(home) == ["GW601"], "the finding")
    worker.stop()


def test_nobody_is_silent_who_could_not_be_heard_while_the_server_was_down(home: House) -> None:
    home.send(0, {"loss": [2.0] * 50})
    home.clock.now_ms += 600_000  # an upgrade
    services = home.app.state.services
    steady = [0.0]
    listening = Listening(90, lambda: steady[0], lambda: steady[0])
    looked = Looked(home.store, services.live, services.registry, home.clock)
    worker = DiagnosisWorker(looked, interval_s=0.01, listening=listening)
    worker.start()
    try:
        wait_until(lambda: looked.mutes >= 1, "the first look")
        assert run(home).state is RunState.RUNNING
        steady[0] = 91.0  # the hook has had its chance
        wait_until(lambda: run(home).state is RunState.SILENT, "the silence")
    finally:
        worker.stop()


def test_a_loop_does_not_stand_still_while_the_database_is_away(home: House) -> None:
    home.send(0, {"loss": [2.0] * 50, "time/step": [0.1] * 50})
    services = home.app.state.services
    away = Away(home.store, services.live, services.registry, home.clock)
    worker = DiagnosisWorker(away, interval_s=0.01, listening=Listening(0))
    away.look_for_silence()  # the loop is known from now on
    worker.start()
    try:
        wait_until(lambda: away.tried >= 2, "two rounds without a database")
        home.clock.now_ms += 600_000
        home.store.runs.open(NewRun(RUN, ATTEMPT), home.clock())  # its hook speaks again, its next frame is on the way
        away.back = True
        wait_until(lambda: away.mutes >= 1, "the first look")
        assert run(home).state is RunState.RUNNING
    finally:
        worker.stop()


def test_a_server_ends_without_its_database(home: House, caplog: pytest.LogCaptureFixture) -> None:
    services = home.app.state.services
    away = Away(home.store, services.live, services.registry, home.clock)
    worker = DiagnosisWorker(away, interval_s=0.01)
    worker.start()
    worker.stop()
    assert "The diagnosis could not leave its runs to other servers: The database does not answer." in caplog.messages


class Looked(Diagnosis):
    """A diagnosis that counts how often somebody looked around."""

    mutes = 0

    def look_for_expired_mutes(self) -> None:
        super().look_for_expired_mutes()
        self.mutes += 1


class Away(Looked):
    """A diagnosis whose database does not answer until it is back."""

    back = False
    tried = 0

    def run_once(self, *rests: Any) -> int:
        self.tried += 1
        if not self.back:
            raise StoreError("The database does not answer.")
        return super().run_once(*rests)

    def release(self) -> None:
        if not self.back:
            raise StoreError("The database does not answer.")
        super().release()


def test_a_run_that_falls_silent_is_an_error_until_it_speaks_again(home: House) -> None:
    home.send(0, {"loss": [2.0] * 50})
    home.diagnose()
    assert "GW503" not in codes(home)
    home.clock.now_ms += 120_000
    services = home.app.state.services
    Diagnosis(home.store, services.live, services.registry, home.clock).look_for_silence()
    home.diagnose()
    assert "GW503" in codes(home)
    home.send(1, {"loss": [2.0] * 10}, first_step=50)
    home.diagnose()
    assert "GW503" not in codes(home)


def test_a_resume_whose_loss_jumps_is_told(home: House) -> None:
    home.send(0, {"loss": [0.5, 0.51, 0.49] * 30})
    home.open_run(attempt=SECOND, first_step=90, started_ms=home.clock() + 1000)
    body = frame_bytes(0, {"loss": [1.5, 1.51, 1.49] * 10}, first_step=90, attempt=SECOND)
    headers = {"Content-Type": "application/vnd.gradwatch.frame"}
    assert home.client.post(f"/api/v1/runs/{RUN}/frames", content=body, headers=headers).status_code == 200
    home.diagnose()
    found = {item.code: item for item in home.store.findings.list(RUN) if item.attempt == 2}
    assert found["GW507"].message == "After the resume at step 90 the loss is 1.5; before it was 0.5"


def test_a_round_ends_after_the_run_that_it_is_at_when_the_server_stops(home: House) -> None:
    runs = [f"{SECOND[:-2]}{number}" for number in range(10, 15)]
    for run_id in runs:
        home.open_run(run_id)
        home.send(0, {"loss": [2.0]}, run_id=run_id)
    services = home.app.state.services
    diagnosis = Diagnosis(home.store, services.live, services.registry, home.clock)
    assert diagnosis.run_once(lambda: True) == 0
    asked = iter((False, False, True))
    assert diagnosis.run_once(lambda: next(asked)) == 2
    assert diagnosis.run_once() == len(runs) + 1 - 2, "the others are still waiting"


def test_a_turn_that_read_everything_was_not_cut_short_however_long_it_took(home: House) -> None:
    services = home.app.state.services
    hours = iter(range(1_000))
    slow = Diagnosis(home.store, services.live, services.registry, home.clock, now=lambda: 3600.0 * next(hours))
    home.send(0, {"loss": [2.0] * 30}, records=[{**FINISHED, "step": 29}])
    assert slow.run_once() == 1
    assert run(home).diagnosis is DiagnosisState.FINAL
    assert slow.run_once() == 0, "it had its turn"


def test_a_turn_that_is_over_leaves_the_rest_of_the_run_to_the_next_one(home: House) -> None:
    services = home.app.state.services
    hours = iter(range(1_000))
    slow = Diagnosis(home.store, services.live, services.registry, home.clock, now=lambda: 3600.0 * next(hours))
    for seq in range(FIRST_FRAMES + 1):
        home.send(seq, {"loss": [2.0]}, first_step=seq)
    home.open_run(attempt=SECOND, started_ms=home.clock() + 1_000)
    body = frame_bytes(0, {"loss": [2.0] * 3}, attempt=SECOND)
    kind = {"Content-Type": "application/vnd.gradwatch.frame"}
    assert home.client.post(f"/api/v1/runs/{RUN}/frames", content=body, headers=kind).status_code == 200
    turns = 0
    while slow.run_once():
        turns += 1
    assert turns == 3, "a full page, what is left of the attempt, and the newest attempt"
    assert run(home).diagnosed_step == 2
