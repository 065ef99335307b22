"""A replay over a project: the newest runs, counted by rule; it can be stopped, runs out of time, and saves nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import server.diagnosis.replays as module
from server.diagnosis.differences import ProjectReplay, ReplayState, difference_of
from server.diagnosis.replay import Replay
from server.diagnosis.replays import MOST_RUNS, CannotReplay, Replays
from server.diagnosis.session import FIRST_FRAMES
from server.diagnosis.thresholds import WrongThreshold
from server.errors import Busy, StoreError
from server.rules.registry import Registry
from tests.server.house import House, frame_bytes, house
from tests.server.web.pages_kit import finding
from tests.serving import wait_until

chance = np.random.default_rng(5)
SPIKY = list(1 + 0.05 * chance.normal(size=300)) + list(4 + 0.05 * chance.normal(size=30))
CALM = list(np.linspace(2.0, 0.5, 330) + 0.01 * chance.normal(size=330))
FINISHED = {"kind": "status", "name": "finished", "step": 329, "time_ms": 1, "value": {}}
RUNS = {"spiky-old": SPIKY, "calm": CALM, "spiky-new": SPIKY}
DEAF = {"GW205": {"long_ratio": 9.0, "short_ratio": 9.0}}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as built:
        fill(built)
        yield built


def fill(home: House) -> None:
    """Sends three runs that ended, the last of them the newest."""
    for at, (run_id, losses) in enumerate(RUNS.items()):
        home.open_run(run_id, name=run_id, attempt=f"a-{run_id}", started_ms=home.clock() + 1000 * at)
        body = {"loss": losses}
        assert send(home, run_id, body).status_code == 200
    home.diagnose()


def send(home: House, run_id: str, series: dict[str, list[float]]) -> Any:
    body = frame_bytes(0, series, run_id=run_id, attempt=f"a-{run_id}", records=(FINISHED,))
    kind = {"Content-Type": "application/vnd.gradwatch.frame"}
    return home.client.post(f"/api/v1/runs/{run_id}/frames", content=body, headers=kind)


def replays_of(home: House, registry: Registry | None = None, **more: Any) -> Replays:
    services = home.app.state.services
    return Replays(home.store, registry or services.registry, services.rooms, home.clock, **more)


def ended(replays: Replays, begun: ProjectReplay) -> ProjectReplay:
    """Waits for the end of a replay."""

    def look() -> ProjectReplay | None:
        found = replays.get(begun.id)
        assert found is not None
        return None if found.state is ReplayState.RUNNING else found

    found: ProjectReplay = wait_until(look, "the end of the replay")
    return found


def test_it_counts_what_would_vanish_by_rule_and_run_and_saves_nothing(home: House) -> None:
    before = {run_id: home.store.findings.list(run_id) for run_id in RUNS}
    replays = replays_of(home)
    found = ended(replays, replays.start("default", DEAF))
    assert (found.state, found.done, found.total, found.left_out) == (ReplayState.DONE, 3, 3, 0)
    assert [run.run_id for run in found.runs] == ["spiky-new", "calm", "spiky-old"], "the newest first"
    tally = next(item for item in found.rules if item.code == "GW205")
    assert (tally.appear, tally.vanish, tally.otherwise) == (0, 2, 0)
    by_run = {run.run_id: run for run in found.runs}
    assert not by_run["calm"].differs
    (told,) = [item for item in by_run["spiky-old"].vanish if item.code == "GW205"]
    assert told.message.startswith("The loss jumped from")
    assert {run_id: home.store.findings.list(run_id) for run_id in RUNS} == before
    assert home.store.wishes.thresholds("default") == {}


def test_without_a_change_nothing_would_change(home: House) -> None:
    replays = replays_of(home)
    found = ended(replays, replays.start("default", {}))
    assert found.rules == ()
    assert [run.same for run in found.runs] == [len(home.store.findings.list(run.run_id)) for run in found.runs]


def test_another_version_of_a_rule_is_named(home: House) -> None:
    services = home.app.state.services
    changed = Registry([replace(item, version=9) if item.code == "GW205" else item for item in services.registry])
    replays = replays_of(home, changed)
    found = ended(replays, replays.start("default", {}))
    assert [(code, now) for code, _, now in found.renewed] == [("GW205", 9)]


def test_only_so_many_of_the_newest_are_judged_and_only_those_that_are_done(home: House) -> None:
    home.open_run("running", attempt="a-running", started_ms=home.clock() + 9000)
    replays = replays_of(home)
    found = ended(replays, replays.start("default", {}, 2))
    assert [run.run_id for run in found.runs] == ["spiky-new", "calm"]
    assert found.left_out == 1


def test_it_ends_when_its_time_is_over_and_keeps_what_it_found(home: House) -> None:
    hours = iter(range(0, 10_000, 3600))
    replays = replays_of(home, now=lambda: float(next(hours)))
    found = ended(replays, replays.start("default", DEAF))
    assert (found.state, found.done, found.total) == (ReplayState.OUT_OF_TIME, 0, 3)


def test_one_is_under_way_at_a_time_and_can_be_stopped(home: House) -> None:
    reached, gate = threading.Event(), threading.Event()

    def now() -> float:
        if threading.current_thread().name == "gradwatch-replay":
            reached.set()
            gate.wait(60)
        return 0.0

    replays = replays_of(home, now=now)
    begun = replays.start("default", DEAF)
    assert reached.wait(60)
    with pytest.raises(CannotReplay, match=r"A replay over the project 'default' is under way \(0 of 0 runs\): wait"):
        replays.start("default", {})
    stopper = threading.Thread(target=replays.stop, args=(begun.id,))
    stopper.start()
    wait_until(replays._works[begun.id].stop.is_set, "the wish to stop")
    gate.set()
    stopper.join(60)
    assert ended(replays, begun).state is ReplayState.STOPPED
    assert ended(replays, replays.start("default", {})).state is ReplayState.DONE, "the next one may begin"
    assert [item.state for item in replays.known("default")] == [ReplayState.DONE, ReplayState.STOPPED]
    assert replays.known("other") == []


def test_a_run_that_cannot_be_judged_again_is_told_and_the_others_are_judged(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = module.replay

    def breaks(store: Any, registry: Any, run: Any, *more: Any, **named: Any) -> Replay:
        if run.id == "calm":
            raise StoreError("The chunk is damaged")
        return judge(store, registry, run, *more, **named)

    monkeypatch.setattr(module, "replay", breaks)
    replays = replays_of(home)
    found = ended(replays, replays.start("default", DEAF))
    assert [(run.run_id, run.problem) for run in found.runs if run.problem] == [
        ("calm", "StoreError: The chunk is damaged")
    ]
    assert (found.state, found.done) == (ReplayState.DONE, 3)


def test_runs_that_cannot_be_listed_end_it_with_the_reason(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(**_: Any) -> None:
        raise StoreError("The database is busy")

    replays = replays_of(home)
    monkeypatch.setattr(home.store.runs, "page", breaks)
    found = ended(replays, replays.start("default", {}))
    assert (found.state, found.problem) == (ReplayState.STOPPED, "The database is busy")


@pytest.mark.parametrize(
    ("asked", "error", "sentence"),
    [
        (("default", {"GW205": {"x": 1.0}}), WrongThreshold, "GW205 loss-spike has no threshold 'x'"),
        (("default", {"GW999": {}}), WrongThreshold, "No rule is called 'GW999'"),
        (("nobody", {}), CannotReplay, "No project is called 'nobody': it has no run to replay"),
        (("default", {}, 0), CannotReplay, f"Runs: got 0, expected 1 to {MOST_RUNS}"),
        (("default", {}, 9999), CannotReplay, f"Runs: got 9999, expected 1 to {MOST_RUNS}"),
    ],
)
def test_what_cannot_be_replayed_is_refused(
    home: House, asked: tuple[Any, ...], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence.replace("(", r"\(")):
        replays_of(home).start(*asked)


def test_the_end_of_the_server_stops_what_is_under_way(home: House) -> None:
    replays = replays_of(home)
    begun = replays.start("default", DEAF)
    replays.close()
    found = replays.get(begun.id)
    assert found is not None
    assert found.state in (ReplayState.STOPPED, ReplayState.DONE)


def test_the_replay_of_one_run_ends_with_the_server_too(home: House) -> None:
    home.open_run("long", attempt="a-long")
    kind = {"Content-Type": "application/vnd.gradwatch.frame"}
    for seq in range(FIRST_FRAMES + 1):
        body = frame_bytes(seq, {"loss": [2.0]}, first_step=seq, run_id="long", attempt="a-long")
        assert home.client.post("/api/v1/runs/long/frames", content=body, headers=kind).status_code == 200
    run = home.store.runs.get("long")
    assert run is not None
    replays = replays_of(home)
    assert replays.one(run, {}).step == FIRST_FRAMES
    replays.close()
    with pytest.raises(Busy, match="The server ends; replay the run again when it is back"):
        replays.one(run, {})


def test_what_the_same_rule_says_otherwise_is_no_new_finding(home: House) -> None:
    run = home.store.runs.get("calm")
    assert run is not None
    before = (finding(1, code="GW308", message="60 %"), finding(2, code="GW801"), finding(3, code="GW308", attempt=2))
    now = (finding(4, code="GW308", message="70 %"), finding(5, code="GW411"))
    found = difference_of(run, Replay(now, added=now, gone=before, same=3, step=9))
    assert [item.message for item in found.otherwise] == ["70 %"]
    assert [item.code for item in found.appear] == ["GW411"]
    assert [item.code for item in found.vanish] == ["GW801", "GW308"]
