"""Every rule on a real training that has its disease, and on the healthy twin, which raises nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from server.rules.registry import load_rules
from tests.serving import Server, wait_until
from tests.trainings.cast import CAST


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all trainings of this process."""
    started = Server(tmp_path_factory.mktemp("cast"))
    yield started
    assert started.stop() == 0


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks are fastest on one core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def findings(server: Server, run_id: str) -> list[dict[str, Any]]:
    """Gives all findings once the diagnosis is final."""
    wait_until(lambda: server.get(f"runs/{run_id}")["diagnosis"] == "final", "the final diagnosis")
    found: list[dict[str, Any]] = server.get(f"runs/{run_id}/findings")["items"]
    return found


def test_every_rule_has_a_training() -> None:
    assert set(CAST) == {item.code for item in load_rules()}


@pytest.mark.parametrize("code", CAST)
def test_the_sick_training_is_diagnosed(code: str, server: Server) -> None:
    found = findings(server, CAST[code](True, server.url))
    mine = [item for item in found if item["code"] == code]
    assert mine, [f"{item['code']} {item['severity']}: {item['message']}" for item in found]
    assert mine[0]["severity"] in ("warning", "error")
    assert mine[0]["advice"]
    assert mine[0]["evidence"]["numbers"] or mine[0]["evidence"]["strings"]


@pytest.mark.parametrize("code", CAST)
def test_the_healthy_twin_raises_nothing(code: str, server: Server) -> None:
    found = findings(server, CAST[code](False, server.url))
    assert [f"{item['code']}: {item['message']}" for item in found if item["severity"] != "info"] == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("script", ["regression.py", "tiny_gpt.py", "gan.py"])
def test_a_healthy_example_raises_nothing(script: str, server: Server) -> None:
    before = {run["id"] for run in server.get("runs?limit=500")["items"]}
    assert server.train(script).wait(timeout=500) == 0
    (run,) = [run for run in server.get("runs?limit=500")["items"] if run["id"] not in before]
    assert [f"{item['code']}: {item['message']}" for item in findings(server, run["id"])] == []
