"""Runs a training in a process of its own, or in several that train together: with a clock that stands still, as ranks
of one job, or until it is killed.

What they send comes back as one recording. Not for: the trainings (hours, ranks).
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests import warm
from tests.corpus.pace import name_of_pace
from tests.corpus.probe import Recording

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 150


def apart(script: str, *, ranks: int = 1, still: bool = True, **arguments: Any) -> Recording:
    """Calls `module:function` in so many processes; a process that was killed fell silent, as a server sees it."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{rank}.recording" for rank in range(ranks)]
        given = [json.dumps(arguments), name_of_pace(), "still" if still else "real"]
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port(), "WORLD_SIZE": str(ranks)} if ranks > 1 else {}
        started = [
            warm.Popen(
                [sys.executable, "-m", "tests.corpus.child", script, str(file), *given],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1", **place, **({"RANK": str(rank)} if place else {})},
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank, file in enumerate(files)
        ]
        recordings = [_recording(process, file) for process, file in zip(started, files, strict=True)]
    recordings[0].others = tuple(recordings[1:])
    return recordings[0]


def _recording(process: Any, file: Path) -> Recording:
    try:
        _, said = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    if process.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"a process of the training ended with {process.returncode}: {said}")
    recording: Recording = pickle.loads(file.read_bytes())
    if process.returncode:
        recording.ended = "silent"
    return recording


def _free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])
