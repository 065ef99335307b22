"""Rules of others: whatever one does is told and costs no other rule, no run and not the server its answer."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server.diagnosis.engine import Engine
from server.diagnosis.ranks import Ranks
from server.diagnosis.rooms import CALLS_BEFORE_SLOW, FAULTS_BEFORE_OFF, Rooms
from server.diagnosis.worker import Diagnosis
from server.domain.kinds import Kind
from server.rules.registry import Registry, load_rules
from server.rules.room import STAYS, THREAD, Job, Room
from tests.browser.kit import open_run, send
from tests.server.house import RUN, house
from tests.server.rules.test_own import SAYS, write
from tests.serving import Server

LIMIT_S = 0.3
HANGS = "        while True:\n            pass\n        yield\n"
QUIET = "        return\n        yield\n"
FINISHED = {"kind": "status", "name": "finished", "step": 59, "time_ms": 1, "value": {}}


def guests(folder: Path, **bodies: str) -> Registry:
    """Loads rules with these bodies, called OWN001 and so on."""
    for number, (name, body) in enumerate(bodies.items(), 1):
        write(folder, name.replace("_", "-"), body, f"OWN{number:03}")
    return load_rules(folder)


def judged(registry: Registry, rooms: Rooms, losses: int = 60) -> Engine:
    """Lets the guests judge a run whose loss is 9."""
    engine = Engine([item.rule for item in registry if item.guest], rooms=rooms)
    engine.evidence.add(("loss",), np.arange(losses), np.full((1, losses), 9.0))
    engine.evidence.add_fact("plan", -1, {"total_steps": 600, "parts": [1, 2]})
    engine.evidence.settle(losses - 1)
    engine.advance()
    return engine


def reasons(engine: Engine) -> dict[str, str]:
    return {check.code: check.reason for check in engine.checks}


def rooms_of(registry: Registry, **more: Any) -> Rooms:
    return Rooms((item.code for item in registry if item.guest), **{"limit_s": LIMIT_S, **more})


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ("SystemExit(3)", "SystemExit: 3"),
        ("SystemExit", "SystemExit"),
        ("KeyboardInterrupt", "KeyboardInterrupt"),
        ("BaseException('enough')", "BaseException: enough"),
        ("type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})", "Mute"),
    ],
)
def test_what_a_rule_raises_is_told_by_its_name(tmp_path: Path, raised: str, told: str) -> None:
    registry = guests(tmp_path, leaves=f"        raise {raised}\n        yield\n", says=SAYS)
    rooms = rooms_of(registry)
    engine = judged(registry, rooms, losses=3)
    assert reasons(engine)["OWN001"] == f"the rule itself failed ({told})"
    assert rooms.off == {}
    assert [item.code for item in engine.findings] == ["OWN002"]


def test_a_rule_that_fails_again_and_again_is_switched_off_over_all_runs(tmp_path: Path) -> None:
    registry = guests(tmp_path, throws="        raise KeyError('a mistake')\n        yield\n")
    rooms = rooms_of(registry)
    runs = 0
    while "OWN001" not in rooms.off:
        assert runs <= FAULTS_BEFORE_OFF
        engine = judged(registry, rooms, losses=3)
        runs += 1
    assert runs > 1, "one run alone is not enough"
    why = f"it failed {FAULTS_BEFORE_OFF} times; the server's log says with what"
    assert rooms.off["OWN001"] == why
    engine = judged(registry, rooms, losses=3)
    assert reasons(engine)["OWN001"] == f"this rule was switched off: {why}"


def test_a_rule_that_is_slow_in_the_mean_is_switched_off_and_not_before_it_was_asked_often(tmp_path: Path) -> None:
    registry = guests(tmp_path, slow=QUIET)
    rooms = rooms_of(registry, slow_s=0.0)
    judged(registry, rooms, losses=10)
    assert rooms.off == {}, "a few questions say nothing about the mean"
    while "OWN001" not in rooms.off:
        engine = judged(registry, rooms, losses=CALLS_BEFORE_SLOW)
    assert rooms.off["OWN001"].startswith("it takes ")
    assert rooms.off["OWN001"].endswith(" ms an evaluation (limit 0 ms)")
    assert "switched off" in reasons(judged(registry, rooms, losses=10))["OWN001"]
    assert engine.findings == []


def test_a_quick_rule_is_not_called_slow(tmp_path: Path) -> None:
    registry = guests(tmp_path, quick=QUIET)
    rooms = rooms_of(registry, slow_s=LIMIT_S)
    for _ in range(5):
        judged(registry, rooms)
    assert rooms.off == {}


def test_a_rule_that_writes_into_its_window_is_told_and_the_others_see_what_the_training_sent(tmp_path: Path) -> None:
    writes = "        window.loss.{}\n        yield\n"
    says = (
        "        medians = window.loss.medians(2, 1)\n"
        "        if window.loss.last == 9 and window.fact('plan')['total_steps'] == 600 and (medians == 9).all():\n"
        "            yield Verdict(Severity.WARNING, window.step, '9', 'x', at_once=True)\n"
    )
    registry = guests(
        tmp_path,
        values=writes.format("values[:] = 0"),
        tail=writes.format("tail(3)[:] = 0"),
        steps=writes.format("steps[:] = 0"),
        track=writes.format("track.values[:] = 0"),
        medians=writes.format("medians(2, 1)[:] = 0"),
        layers="        window.by_layer(Kind.LOSS)[''].values[:] = 0\n        yield\n",
        facts="        window.fact('plan')['total_steps'] = 0\n        window.fact('plan')['parts'].clear()\n" + QUIET,
        kept="        window.memo['loss'] = window.kept['loss'] = 0\n" + QUIET,
        says=says,
    )
    layers = tmp_path / "layers.py"
    layers.write_text(layers.read_text().replace("from server", "from server.domain.kinds import Kind\nfrom server", 1))
    registry = load_rules(tmp_path)
    rooms = rooms_of(registry)
    engine = judged(registry, rooms, losses=5)
    told = reasons(engine)
    for number in range(1, 7):
        assert "read-only" in told[f"OWN00{number}"], told
    assert [item.code for item in engine.findings] == ["OWN009"]
    assert (engine.evidence.series("loss", 4).values == 9).all()
    assert engine.evidence.facts_at(None)["plan"] == {"total_steps": 600, "parts": [1, 2]}


def test_what_a_guest_sees_grows_with_the_training(tmp_path: Path) -> None:
    says = (
        "        if len(window.loss) == 40 and window.loss.last_step == 39 and len(window.loss.medians(2, 1)) == 39:\n"
        "            yield Verdict(Severity.WARNING, window.step, 'all', 'x', at_once=True)\n"
    )
    registry = guests(tmp_path, says=says)
    engine = Engine([item.rule for item in registry if item.guest], rooms=rooms_of(registry))
    for first in range(0, 40, 8):
        engine.evidence.add(("loss",), np.arange(first, first + 8), np.full((1, 8), 9.0))
        engine.evidence.settle(first + 7)
        engine.advance()
    engine.finish()
    assert [item.code for item in engine.findings] == ["OWN001"]


def test_a_rule_without_end_to_its_answers_is_told(tmp_path: Path) -> None:
    body = "        while True:\n            yield Verdict(Severity.WARNING, window.step, 'x', 'y', at_once=True)\n"
    registry = guests(tmp_path, talks=body)
    engine = judged(registry, rooms_of(registry), losses=2)
    assert reasons(engine)["OWN001"] == (
        "the rule itself failed (ValueError: check() gave more than 100 answers; one is enough)"
    )


def test_a_thread_that_catches_everything_is_stopped_and_one_that_waits_is_said_to_stay(tmp_path: Path) -> None:
    catches = (
        "        while True:\n            try:\n                at = window.step\n            except BaseException:\n"
        "                pass\n        yield\n"
    )
    waits = "        import threading\n        threading.Event().wait()\n        yield\n"
    registry = guests(tmp_path, catches=catches, waits=waits)
    rooms = rooms_of(registry)
    told = reasons(judged(registry, rooms, losses=1))
    assert rooms.off == {
        "OWN001": "it did not answer within 0.3 s",
        "OWN002": f"it did not answer within 0.3 s; {STAYS}",
    }
    assert told["OWN001"] == "the rule hangs (no answer within 0.3 s)"
    assert told["OWN002"].endswith(f"; {STAYS})")


def test_a_rule_that_hangs_for_one_asker_keeps_no_other_asker_waiting(tmp_path: Path) -> None:
    first, second = Room(), Room()
    assert not first.ask(Job(threading.Event().wait), 0.01)
    job = Job(lambda: 42)
    assert second.ask(job, 60)
    assert job.made == 42
    second.close()


def test_a_rule_over_ranks_is_asked_in_a_room_as_well(tmp_path: Path) -> None:
    write(tmp_path, "leaves", "        raise SystemExit(3)\n        yield\n")
    file = tmp_path / "leaves.py"
    file.write_text(file.read_text().replace("    every = 1\n", "    every = 1\n    across_ranks = True\n"))
    registry = load_rules(tmp_path)
    ranks = Ranks([item.rule for item in registry if item.guest], {}, lambda rank, after: (), rooms_of(registry))
    ranks.engine.evidence.add((Kind.LOSS.value,), np.arange(3), np.full((1, 3), 9.0))
    ranks.engine.evidence.settle(2)
    ranks.engine.advance()
    assert reasons(ranks.engine)["OWN001"] == "the rule itself failed (SystemExit: 3)"


def test_a_replay_of_a_rule_that_hangs_answers_and_the_catalogue_lists_it_as_switched_off(tmp_path: Path) -> None:
    write(tmp_path / "rules", "says")
    with house(tmp_path) as home:
        home.open_run()
        home.send(0, {"loss": [9.0] * 60}, records=[FINISHED])
        home.diagnose()
        assert "OWN001" in [item.code for item in home.store.findings.list(RUN)]
    write(tmp_path / "rules", "says", HANGS)
    (tmp_path / "rules" / "broken.py").write_text("import nothing_of_this_name")
    with house(tmp_path) as home:
        home.app.state.services.rooms._limit_s = LIMIT_S
        assert "your own that were switched off" not in home.client.get("/rules").text
        result = home.client.post(f"/api/v1/runs/{RUN}/replay", json={}).json()
        why = "it did not answer within 0.3 s"
        assert result["unasked"] == [{"code": "OWN001", "reason": why}]
        assert "OWN001" not in {item["code"] for item in (*result["gone"], *result["findings"])}, "nobody asked it"
        page = home.client.get("/rules", headers={"Accept": "text/html"}).text
        assert "Rules of your own that were switched off" in page
        assert f"<code>OWN001 says</code>: {why}" in page
        assert "Rules of your own that were left out" in page
        listed: Mapping[str, Any] = home.client.get("/api/v1/rules").json()
        assert {item["code"]: item["switched_off"] for item in listed["items"]}["OWN001"] == why
        assert [item["source"] for item in listed["left_out"]] == [str(tmp_path / "rules" / "broken.py")]
        services = home.app.state.services
        live = Diagnosis(home.store, services.live, services.registry, home.clock, rooms=services.rooms)
        assert live.rooms.off == {"OWN001": why}, "the live diagnosis does not ask it again"


@pytest.mark.timeout(120)
def test_a_server_with_rules_that_hang_at_their_import_and_when_they_are_asked_answers_and_ends(tmp_path: Path) -> None:
    write(tmp_path / "rules", "hangs", HANGS)
    (tmp_path / "rules" / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    server = Server(tmp_path)
    try:
        left_out = server.get("rules?limit=500")["left_out"]
        assert [item["reason"] for item in left_out] == ["it cannot be loaded (SystemExit: 3)"]
        open_run(server)
        send(server, 0, {"loss": [9.0] * 60}, records=(FINISHED,))
        body = {"project": "default", "runs": 1}
        kind = {"Content-Type": "application/json"}
        for path in (f"runs/{RUN}/replay", "replays"):
            sent = json.dumps(body if path == "replays" else {}).encode()
            asked = urllib.request.Request(f"{server.url}/api/v1/{path}", sent, kind, method="POST")
            with urllib.request.urlopen(asked, timeout=60) as answer:
                said = json.load(answer)
        assert said["project"] == "default"
        (rule,) = [item for item in server.get("rules?limit=500")["items"] if item["code"] == "OWN001"]
        assert rule["switched_off"].startswith("it did not answer within 2 s")
    finally:
        assert server.stop() == 0


def test_rooms_leave_no_thread_behind_that_could_be_stopped(tmp_path: Path) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    registry = guests(tmp_path, hangs=HANGS)
    judged(registry, rooms_of(registry), losses=2)
    left = [item for item in threading.enumerate() if item.name == THREAD and item.ident not in before]
    assert len([item for item in left if item.is_alive()]) <= 1, "the room of the loading may still be closing"
