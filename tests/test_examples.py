"""The examples are real trainings that stay short enough to read: healthy with a server, and unharmed without one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests import warm
from tests.serving import Server
from tests.trainings.outcome import findings

ROOT = Path(__file__).resolve().parents[1]
SHORT = {
    "amp.py": ["--steps", "20"],
    "ddp.py": ["--epochs", "1"],
    "digits.py": ["--epochs", "1"],
    "hf_trainer.py": ["--steps", "4"],
    "lstm.py": ["--steps", "10"],
    "preflight.py": ["--seconds", "8"],
}
WHOLE = ("regression.py", "tiny_gpt.py", "gan.py")


def test_every_example_is_tried_here() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == {*SHORT, *WHOLE}


@pytest.mark.parametrize("script", [*SHORT, *WHOLE])
def test_it_is_shorter_than_80_lines(script: str) -> None:
    assert len((ROOT / "examples" / script).read_text().splitlines()) < 80


@pytest.mark.parametrize("script", SHORT)
def test_it_trains_without_a_server(script: str, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "GRADWATCH_URL": "http://127.0.0.1:9",
        "GRADWATCH_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, str(ROOT / "examples" / script), *SHORT[script]]
    done = warm.run(command, env=environment, text=True)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*.spool")), "the spool keeps what no server has taken"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("script", WHOLE)
def test_the_whole_of_it_raises_nothing(script: str, server: Server) -> None:
    before = {run["id"] for run in server.get("runs?limit=500")["items"]}
    assert server.train(script).wait(timeout=500) == 0
    (run,) = [run for run in server.get("runs?limit=500")["items"] if run["id"] not in before]
    told = [item for item in findings(server, run["id"]) if item["severity"] != "info"]
    assert [f"{item['code']}: {item['message']}" for item in told] == []
