"""A real server process for the tests: started, asked, ended or killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import warm

ROOT = Path(__file__).resolve().parents[1]
LISTENING = "Gradwatch listening on "


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Polls until the condition gives something; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} within {seconds} s"
        time.sleep(0.02)
    return found


class Server:
    """One `gradwatch serve` process on a free port."""

    def __init__(self, home: Path, *extra: str, port: int = 0) -> None:
        self.home = home
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self.process = warm.ServerPopen(
            [sys.executable, "-m", "client_hook.cli", "serve", "--port", str(port), "--home", str(home), *extra],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line.startswith(LISTENING):
            self.log.seek(0)
            raise AssertionError(f"the server said {line!r} and on stderr: {self.log.read()}")
        self.url = line.removeprefix(LISTENING)

    def stop(self) -> int:
        """Ends the server as a user would."""
        self.process.terminate()
        code = self.process.wait(timeout=20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()
        return code

    def kill(self) -> None:
        """Ends the process as a power cut would."""
        self.process.kill()
        self.process.wait(timeout=20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.url.rpartition(":")[2])

    def get(self, path: str) -> Any:
        """Asks the API."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=20) as answer:
            return json.load(answer)

    def train(self, script: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts one of the examples against this server."""
        environment = {
            **os.environ,
            "GRADWATCH_URL": self.url,
            "PYTHONPATH": str(ROOT),
            "GRADWATCH_HOME": str(self.home / "hook"),
            "OMP_NUM_THREADS": "1",  # two workers share the cores
        }
        return warm.Popen([sys.executable, str(ROOT / "examples" / script), *arguments], env=environment)
