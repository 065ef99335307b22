"""Runs the training of `training.py` in a process of its own and reads what it wrote down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import warm
from tests.serving import ROOT, Server


@dataclass
class Training:
    """One process that trains; `notes` holds what it knows of itself."""

    process: subprocess.Popen[str]
    notes: Path
    run_id: str

    def written(self) -> dict[int, tuple[float, float]]:
        """Gives {step: (time, loss)}; a line that was cut by a kill is left out."""
        text = self.notes.read_text() if self.notes.exists() else ""
        lines = text[: text.rfind("\n") + 1].splitlines()
        return {int(step): (float(at), float(loss)) for step, at, loss in (line.split() for line in lines)}

    def end(self) -> dict[str, Any]:
        """Waits for the end of the training; gives how its finish went."""
        out, errors = self.process.communicate(timeout=100)
        assert self.process.returncode == 0, errors
        assert "Traceback" not in errors, errors
        answer: dict[str, Any] = json.loads(out.splitlines()[0])
        return answer


def train(home: Path, url: str, *, steps: int = 200, pause: float = 0.0, **environment: str) -> Training:
    """Starts a training; gives it once it has begun."""
    home.mkdir(parents=True, exist_ok=True)
    notes = home / f"notes-{uuid.uuid4()}"
    process = warm.Popen(
        [sys.executable, "-m", "tests.faults.training", str(steps), str(pause), str(notes)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "GRADWATCH_STRICT": "0", "GRADWATCH_URL": url, "GRADWATCH_HOME": str(home), **environment},
    )  # fmt: skip
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    assert run_id, process.communicate()[1]
    return Training(process, notes, run_id)


def sync(home: Path, url: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `gradwatch sync`."""
    where = ["--url", url] if url else []
    return subprocess.run(
        [sys.executable, "-m", "client_hook.cli", "sync", "--home", str(home), *where],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def losses(server: Server, run_id: str) -> dict[int, float]:
    """Asks for every point of the loss; fails where a step is there twice."""
    found: dict[int, float] = {}
    start = 0
    while True:
        page = server.get(f"runs/{run_id}/series/data?name=loss&from={start}&to={start + 999}&points=2000&attempt=all")
        entry = page["items"][0] if page["items"] else {"steps": []}
        for index, step in enumerate(entry["steps"]):
            assert entry["count"][index] == 1, f"step {step} is there {entry['count'][index]} times"
            found[step] = entry["first"][index]
        if not entry["steps"] or max(entry["steps"]) < start + 900:
            return found
        start += 1000
