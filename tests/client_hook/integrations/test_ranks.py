"""Two ranks that torchrun starts, under each framework that spreads a training: one run, a series for each rank."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client_hook.integrations.two_ranks import FRAMEWORKS
from tests.serving import ROOT, Server


@pytest.mark.timeout(300)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_two_ranks_are_one_run_with_a_series_each(framework: str, server: Server, tmp_path: Path) -> None:
    before = {run["id"] for run in server.get("runs?limit=500")["items"]}
    environment = {**os.environ, "GRADWATCH_URL": server.url, "GRADWATCH_HOME": str(tmp_path), "OMP_NUM_THREADS": "1",
                   "GRADWATCH_SYSTEM": "0"}  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               "-m", "tests.client_hook.integrations.two_ranks", framework, str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    (run,) = [run for run in server.get("runs?limit=500")["items"] if run["id"] not in before]
    assert run["state"] == "finished"
    told = []
    for rank in range(2):
        own = json.loads((tmp_path / f"{rank}.json").read_text())
        assert len(own) == 4, "32 rows in batches of 4 on two ranks"
        path = f"runs/{run['id']}/series/data?name=loss&rank={rank}&points=100"
        (found,) = server.get(path)["items"]
        assert dict(zip(found["steps"], found["first"], strict=True)) == pytest.approx(dict(enumerate(own)), rel=1e-6)
        told.append(own)
    assert told[0] != told[1], "each rank has samples of its own"
