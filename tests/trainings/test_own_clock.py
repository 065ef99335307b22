"""Rules about hours and machines, each on a training that has the disease and on its healthy twin (one process)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

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


@pytest.fixture(scope="module")
def runs(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Trains them all."""
    env = {
        **os.environ, "GRADWATCH_URL": server.url, "GRADWATCH_HOME": str(tmp_path_factory.mktemp("own-clock")),
        "GRADWATCH_QUIET": "1", "GRADWATCH_STRICT": "1", "GRADWATCH_SYSTEM": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.trainings.own_clock", *HEALTHY, *SICK]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def findings(server: Server, run_id: str) -> dict[str, Any]:
    """Gives the findings by code once the diagnosis is final."""
    wait_until(lambda: server.get(f"runs/{run_id}")["diagnosis"] == "final", "the final diagnosis")
    return {item["code"]: item for item in server.get(f"runs/{run_id}/findings")["items"]}


@pytest.mark.parametrize("case", SICK)
def test_the_sick_training_is_named(case: str, server: Server, runs: dict[str, str]) -> None:
    code, severity, words = SICK[case]
    found = findings(server, runs[case])
    assert code in found, {key: item["message"] for key, item in found.items()}
    assert found[code]["severity"] == severity
    assert found[code]["message"].startswith(words)
    assert found[code]["evidence"]["series"]


@pytest.mark.parametrize("case", HEALTHY)
def test_the_healthy_twin_raises_nothing(case: str, server: Server, runs: dict[str, str]) -> None:
    found = findings(server, runs[case])
    assert [item["message"] for item in found.values() if item["severity"] != "info"] == []
    assert found.keys().isdisjoint(code for code, _, _ in SICK.values())
