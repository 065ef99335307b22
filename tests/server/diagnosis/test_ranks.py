"""What several processes of one training show together, from frames of all ranks and from a real training of two."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server.diagnosis.replay import replay
from server.domain.findings import Finding
from server.domain.runs import NewRun
from server.store.accepted import AcceptedFrame, AcceptedGroup, AcceptedRecord
from tests import warm
from tests.server.house import ATTEMPT, RUN, House, house
from tests.serving import ROOT, Server, wait_until

STEPS = 120
REDUCED = '{"0": {"reduction": "reduced: the mean over all ranks (DistributedDataParallel)"}}'


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as built:
        built.store.runs.open(NewRun(RUN, ATTEMPT, started_ms=1), 1)
        yield built


def frames(rank: int) -> list[AcceptedFrame]:
    """Makes three frames of a rank; the weights of rank 1 leave the others at step 50."""
    at = np.arange(STEPS)
    losses = 2 - at / STEPS + 0.01 * np.sin(at + rank)
    weights = 4 + at / STEPS + (rank == 1) * (at >= 50) * 0.1
    columns = ("loss", "time/step", "weight_norm/a.weight")
    values = np.stack([losses, np.full(STEPS, 0.1), weights])
    made = []
    for seq, part in enumerate(np.array_split(at, 3)):
        group = AcceptedGroup(columns, part, part + 1, values[:, part])
        facts = (AcceptedRecord("fact", "gradient_meaning", -1, 1, None, REDUCED),) if seq == 0 else ()
        made.append(AcceptedFrame(RUN, ATTEMPT, rank, seq, seq, int(part[-1]), 1, (group,), facts))
    return made


def shown(findings: list[Finding]) -> list[tuple[Any, ...]]:
    return [(item.code, item.first_step, item.raised_step, item.message, item.ranks) for item in findings]


def apart(home: House) -> list[tuple[Any, ...]]:
    return [item for item in shown(home.store.findings.list(RUN)) if item[0] == "GW901"]


def test_weights_that_part_between_ranks_are_found_and_both_ranks_named(home: House) -> None:
    for one, other in zip(frames(0), frames(1), strict=True):
        for frame in (one, other):
            home.store.frames.accept(frame)
            home.diagnose()
    ((_, first_step, _, message, ranks),) = apart(home)
    assert (first_step >= 50, ranks) == (True, (0, 1))
    assert message.startswith("The weights of rank 1 are not those of rank 0: the norm of `a.weight` is ")


def test_the_order_in_which_the_ranks_arrive_changes_nothing(tmp_path: Path) -> None:
    said = []
    for number, order in enumerate(permutations((0, 1))):
        with house(tmp_path / str(number)) as built:
            built.store.runs.open(NewRun(RUN, ATTEMPT, started_ms=1), 1)
            for rank in order:
                for frame in frames(rank):
                    built.store.frames.accept(frame)
                    built.diagnose()
            said.append(apart(built))
            run = built.store.runs.get(RUN)
            assert run is not None
            again = replay(built.store, built.app.state.services.registry, run, {})
            assert [item for item in shown(list(again.findings)) if item[0] == "GW901"] == said[-1]
    assert said[0] == said[1] != []


def test_one_process_is_told_that_there_is_nothing_to_compare(home: House) -> None:
    for frame in frames(0):
        home.store.frames.accept(frame)
    home.diagnose()
    checks = {item.code: item for item in home.store.findings.checks(RUN)}
    assert {checks[code].reason for code in ("GW901", "GW902", "GW904")} == {"the training is one process"}


def train(url: str, home: Path, case: str) -> None:
    """Trains with two processes, as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = []
    for rank in range(2):
        env = {
            **os.environ, "GRADWATCH_URL": url, "GRADWATCH_HOME": str(home / case), "GRADWATCH_QUIET": "1",
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port, "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.trainings.two_processes", case]
        started.append(warm.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True))
    for process in started:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said


def test_real_trainings_of_two_processes_are_told_what_is_wrong_between_them(tmp_path: Path) -> None:
    server = Server(tmp_path / "server")
    try:
        for case in ("same", "own", "slow"):
            train(server.url, tmp_path, case)
        wait_until(
            lambda: [run["diagnosis"] for run in server.get("runs")["items"]] == ["final"] * 3, "three diagnoses"
        )
        runs = {run["name"]: run["id"] for run in server.get("runs")["items"]}
        found = {name: server.get(f"runs/{run_id}/findings")["items"] for name, run_id in runs.items()}
        codes = {name: {item["code"] for item in items} for name, items in found.items()}
        assert codes["same"] >= {"GW901", "GW904"}
        assert codes["own"] & {"GW901", "GW902", "GW904", "GW905"} == {"GW905"}
        assert codes["slow"] & {"GW901", "GW902", "GW904", "GW905"} == {"GW902"}
        (straggler,) = (item for item in found["slow"] if item["code"] == "GW902")
        assert straggler["message"] == (
            "Rank 1 waits 30 ms a step for its data, the median rank 2 ms; a step takes 50 ms, and all wait for the "
            "slowest"
        )
        assert straggler["ranks"] == [1]
    finally:
        server.stop()
