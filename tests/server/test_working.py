"""A worker of its own diagnoses what servers stored, hands its runs back, and ends when it is told to."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from client_hook.cli import main
from server.domain.runs import DiagnosisState
from server.store import Store
from tests import warm
from tests.postgres import Cluster
from tests.server.store.kit import RUN, frame, group, open_run, status, url_in
from tests.serving import ROOT, wait_until


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_it_diagnoses_a_run_and_ends_with_a_signal(
    postgres_cluster: Cluster, tmp_path: Path, end: signal.Signals
) -> None:
    url = postgres_cluster.new_database()
    store = Store.open(url)
    command = [sys.executable, "-m", "client_hook.cli", "worker", "--database", url, "--home", str(tmp_path)]
    process = warm.ServerPopen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Gradwatch diagnoses the runs of postgresql")
        open_run(store)
        store.frames.accept(
            frame(0, group({"loss": [1.0, float("nan")] * 20}, range(40)), records=[status("finished")])
        )
        wait_until(lambda: store.findings.list(RUN), "a finding", 60)

        def judged() -> bool:
            run = store.runs.get(RUN)
            return run is not None and run.diagnosis == DiagnosisState.FINAL

        wait_until(judged, "the end of the diagnosis", 60)
        process.send_signal(end)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
        store.close()


def test_sqlite_belongs_to_the_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["worker", "--database", url_in(tmp_path)]) == 2
    assert "A worker needs PostgreSQL" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
