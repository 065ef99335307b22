"""X2: every operation of the API, asked by schemathesis in all its phases, answers as its own description says.

It asks a server that is full of runs, with a token; 200 examples an operation with `GRADWATCH_COUNTS=full`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import stage
from tests.counts import count, patience
from tests.serving import ROOT, Server

TOKEN = "k" * 32
EXAMPLES = count(12, 200)
CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the runs of the stage, which asks for a token from now on."""
    home = tmp_path_factory.mktemp("openapi")
    filling = Server(home)
    stage.fill(filling)
    filling.stop()
    started = Server(home, "--token", TOKEN)
    yield started
    started.stop()


@pytest.mark.timeout(patience(240))
def test_x2_the_api_keeps_to_its_own_description(full: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"]
    command += ["--config-file", str(CONFIG), "run", f"{full.url}/api/v1/openapi.json"]
    command += ["--header", f"Authorization: Bearer {TOKEN}", "--max-examples", str(EXAMPLES), "--seed", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.security.schema_hooks"}
    told = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout[-6_000:] + told.stderr[-2_000:]
