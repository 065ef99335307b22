"""A preflight from a process of its own counts for the training that follows in the same run, and for no later one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.house import RUN, House, frame_bytes, house

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


def attempt(home: House, key: str, losses: list[float], *records: dict[str, Any], later_ms: int) -> None:
    home.open_run(attempt=key, started_ms=home.clock() + later_ms)
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
    attempt(home, "0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e80", [], fact, later_ms=0)
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
