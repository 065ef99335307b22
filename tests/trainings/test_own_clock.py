"""Rules about hours and machines, each on a training that has the disease and on its healthy twin (one process)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.serving import ROOT, Server, wait_until

SICK = {
    "leaks": ("GW704", "warning", "The memory of the process rises steadily: "),
    "starves": ("GW705", "info", "`gpu0` does little: in the median of the last 60 samples it was busy "),
    "hours without a save": ("GW504", "warning", "The training ran for 1.2 h and never saved its weights (limit 1 h)"),
    "slows down": ("GW702", "warning", "A step takes "),
    "stalls": ("GW703", "info", "Every 25 steps one takes 600 ms instead of 50 ms: "),
    "24 parts": ("GW402", "info", "A step takes 384 examples (24 micro-batches of 16), "),
    "jumps": ("GW957", "info", "The jump of the gradient at step "),
}
HEALTHY = ("healthy machine", "healthy words", "healthy hours")


@pytest.mark.timeout(240)
def test_each_sick_training_is_named_and_the_healthy_twins_raise_nothing(server: Server, tmp_path: Path) -> None:
    env = {
        **os.environ, "GRADWATCH_URL": server.url, "GRADWATCH_HOME": str(tmp_path), "GRADWATCH_QUIET": "1",
        "GRADWATCH_STRICT": "1", "GRADWATCH_SYSTEM": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.trainings.own_clock", *HEALTHY, *SICK]
    done = warm.run(command, cwd=ROOT, env=env, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    found = {case: findings(server, run_id) for case, run_id in json.loads(done.stdout).items()}
    assert found.keys() == {*HEALTHY, *SICK}
    for case, (code, severity, words) in SICK.items():
        told = found[case]
        assert code in told, (case, {key: item["message"] for key, item in told.items()})
        assert told[code]["severity"] == severity, case
        assert told[code]["message"].startswith(words), (case, told[code]["message"])
        assert told[code]["evidence"]["series"], case
    for case in HEALTHY:
        told = found[case]
        assert [item["message"] for item in told.values() if item["severity"] != "info"] == [], case
        assert told.keys().isdisjoint(code for code, _, _ in SICK.values()), case


def findings(server: Server, run_id: str) -> dict[str, Any]:
    """Gives the findings by code once the diagnosis is final."""
    wait_until(lambda: server.get(f"runs/{run_id}")["diagnosis"] == "final", "the final diagnosis")
    return {item["code"]: item for item in server.get(f"runs/{run_id}/findings")["items"]}
