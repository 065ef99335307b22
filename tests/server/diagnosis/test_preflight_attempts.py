"""A preflight from a process of its own counts for the training that follows in the same run, and for no later one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.diagnosis import Diagnosis
from tests.server.house import RUN, House, frame_bytes, house

FIRST = "0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e80"
SECOND, THIRD = "0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e88", "0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e99"
FOUND = {
    "code": "GW106", "name": "lr-range-test", "verdict": "found", "severity": "warning", "message": "5 is above 0.02",
    "advice": "Start near 0.003.", "numbers": {"yours": 5.0},
}  # fmt: skip
BASELINE = {
    "code": "GW108", "name": "loss-above-simple-model", "verdict": "passed", "message": "measured",
    "numbers": {"constant_loss": 2.3, "linear_loss": 0.3, "linear_loss_error": 0.01},
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as built:
        yield built


def record(kind: str, name: str, value: Any) -> dict[str, Any]:
    return {"kind": kind, "name": name, "step": -1, "time_ms": 1, "value": value}


def attempt(
    home: House, key: str, losses: list[float], *records: dict[str, Any], later_ms: int, preflight: bool = False
) -> None:
    home.open_run(attempt=key, started_ms=home.clock() + later_ms, preflight=preflight)
    series = {"loss": losses} if losses else {}
    body = frame_bytes(0, series, attempt=key, records=(*records, record("status", "finished", {})))
    answer = home.client.post(
        f"/api/v1/runs/{RUN}/frames", content=body, headers={"Content-Type": "application/vnd.gradwatch.frame"}
    )
    assert answer.status_code in (200, 201), answer.text


def found(home: House) -> dict[tuple[str, int], str]:
    home.diagnose()
    return {(item.code, item.attempt): item.state for item in home.store.findings.list(RUN)}


def test_it_counts_for_the_next_attempt_alone(home: House) -> None:
    fact = record("fact", "preflight", {"results": [FOUND, BASELINE], "left_out": []})
    attempt(home, FIRST, [], fact, later_ms=0)
    assert found(home) == {("GW106", 1): "open"}
    checks = {item.code: item.outcome for item in home.store.findings.checks(RUN)}
    assert (checks["GW106"], checks["GW108"]) == ("found", "not-evaluated")  # the baseline is only measured before
    stuck = [1.2 + 0.01 * (step % 5) for step in range(200)]
    attempt(home, SECOND, stuck, later_ms=1_000)
    states = found(home)
    assert states["GW106", 1] == "resolved"  # history: the newest attempt says whether it still holds
    assert states["GW106", 2] == states["GW108", 2] == "open"
    attempt(home, THIRD, stuck, later_ms=2_000)  # it continues a training, whose rate may be another by now
    assert {code for code, number in found(home) if number == 3}.isdisjoint({"GW106", "GW108"})


FACT = record("fact", "preflight", {"results": [FOUND, BASELINE], "left_out": []})
STUCK = [1.2 + 0.01 * (step % 5) for step in range(200)]


def one_finding(home: House, code: str) -> tuple[str, int, str, bool]:
    (item,) = [item for item in home.store.findings.list(RUN) if item.code == code]
    return item.id, item.attempt, item.state, item.acknowledged


def test_what_it_found_is_one_finding_with_that_of_the_training_it_belongs_to(home: House) -> None:
    attempt(home, FIRST, [], FACT, later_ms=0, preflight=True)
    assert found(home) == {("GW106", 0): "open"}
    identity, *_ = one_finding(home, "GW106")
    answer = home.client.patch(f"/api/v1/runs/{RUN}/findings/{identity}", json={"acknowledged": True})
    assert answer.status_code == 200
    attempt(home, SECOND, STUCK, later_ms=1_000)
    states = found(home)
    assert states["GW106", 1] == states["GW108", 1] == "open"
    assert one_finding(home, "GW106") == (identity, 1, "open", True)
    assert found(home) == states, "also for a server that starts anew"
    attempt(home, THIRD, STUCK, later_ms=2_000)
    assert {code for code, number in found(home) if number == 2}.isdisjoint({"GW106", "GW108"})


@pytest.mark.parametrize("at_once", [True, False], ids=["after a restart", "while it goes on"])
def test_a_preflight_that_arrives_late_counts_as_if_it_had_come_first(home: House, at_once: bool) -> None:
    services = home.app.state.services
    diagnosis = Diagnosis(home.store, services.live, services.registry, home.clock)
    attempt(home, SECOND, STUCK, later_ms=1_000)
    if not at_once:
        diagnosis.run_once()
        assert ("GW108", 1) not in {(item.code, item.attempt) for item in home.store.findings.list(RUN)}
    attempt(home, FIRST, [], FACT, later_ms=0, preflight=True)
    while diagnosis.run_once():
        pass
    states = {(item.code, item.attempt): item.state for item in home.store.findings.list(RUN)}
    assert states["GW106", 1] == states["GW108", 1] == "open"
    assert one_finding(home, "GW106")[1:] == (1, "open", False)


def test_a_preflight_after_the_training_says_nothing_of_it(home: House) -> None:
    attempt(home, FIRST, STUCK, later_ms=0)
    before = found(home)
    attempt(home, SECOND, [], FACT, later_ms=1_000, preflight=True)
    after = found(home)
    assert after == {**before, ("GW106", 0): "resolved"}
    attempt(home, THIRD, STUCK, later_ms=2_000)  # the training that it was made for
    assert found(home)["GW108", 2] == "open"
