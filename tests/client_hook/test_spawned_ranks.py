"""Ranks that a program spawns itself, as in PyTorch's tutorial of DDP: no launcher tells them who they are."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel
from torch.testing._internal.distributed import fake_pg  # noqa: F401  it registers the backend "fake"

from client_hook import ranks, watch
from client_hook.identity import Identity

WORLD = 2
TOLD_BY_A_LAUNCHER = ("RANK", "WORLD_SIZE")


def rank_of_two(rank: int, port: int, folder: Path) -> None:
    """Trains as one rank, and writes down which run it belongs to."""
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=WORLD)
    model = DistributedDataParallel(nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    told = []
    for _ in range(2):
        monitor = watch(model, optimizer, url="http://127.0.0.1:9", strict=True)
        for _ in range(3):
            loss = model(torch.ones(2, 4)).square().mean()
            loss.backward()
            optimizer.step()
            monitor.step(loss)
        monitor.finish(timeout=0.1)
        told.append([monitor.run_id, monitor._identity.attempt, monitor._identity.rank])
    (folder / f"{rank}.json").write_text(json.dumps(told))
    distributed.destroy_process_group()


def test_they_are_one_run_and_each_knows_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TOLD_BY_A_LAUNCHER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRADWATCH_HOME", str(tmp_path))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(rank_of_two, args=(port, tmp_path), nprocs=WORLD)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(WORLD))
    assert [one[:2] for one in first] == [one[:2] for one in second], "run and attempt, of each monitor"
    assert [one[2] for one in first + second] == [0, 0, 1, 1]
    assert first[0][0] != first[1][0]


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> Iterator[distributed.HashStore]:
    """Makes this process a rank that nobody told its number."""
    for name in TOLD_BY_A_LAUNCHER:
        monkeypatch.delenv(name, raising=False)
    store = distributed.HashStore()
    distributed.init_process_group("fake", rank=1, world_size=WORLD, store=store)
    yield store
    distributed.destroy_process_group()


@pytest.mark.usefixtures("second_of_two")
def test_the_first_that_asks_decides_and_none_waits_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ranks.number() == 1
    assert [ranks.agreed("name", proposal) for proposal in ("one", "two")] == ["one", "one"]
    monkeypatch.setenv("RANK", "0")
    assert (ranks.number(), ranks.agreed("name", "three")) == (None, None), "a launcher knows better"


@pytest.mark.usefixtures("second_of_two")
def test_what_the_environment_names_stays_so() -> None:
    named = Identity.make(environ={"GRADWATCH_RUN_ID": "mine"}, ordinal=0, rank=ranks.number(), agree=ranks.agreed)
    assert (named.run_id, named.rank) == ("mine", 1), "two ranks of one run are told apart"
    assert named.attempt == Identity.make("mine", environ={}, ordinal=0, agree=ranks.agreed).attempt


def test_without_other_ranks_nobody_is_asked() -> None:
    assert (ranks.number(), ranks.agreed("name", "one")) == (None, None)
