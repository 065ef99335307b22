"""The examples are real trainings that work without a server and stay short enough to read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests import warm

ROOT = Path(__file__).resolve().parents[1]
SHORT = {
    "amp.py": ["--steps", "20"],
    "ddp.py": ["--epochs", "1"],
    "digits.py": ["--epochs", "1"],
    "gan.py": ["--steps", "20"],
    "hf_trainer.py": ["--steps", "4"],
    "lstm.py": ["--steps", "10"],
    "preflight.py": ["--seconds", "8"],
    "regression.py": [],
    "tiny_gpt.py": ["--steps", "10"],
}


def test_every_example_is_tried_here() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(SHORT)


@pytest.mark.parametrize("script", SHORT)
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
