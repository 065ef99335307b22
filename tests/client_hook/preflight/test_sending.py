"""What preflight sends: a run of its own or a part of one, results as events, and the whole for the rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from client_hook import preflight, watch
from client_hook.preflight import PreflightError
from client_hook.sync import sync
from tests.client_hook.preflight.kit import HEALTHY, Case, changed, seeded
from tests.serving import Server, wait_until


def sick() -> Case:
    case = seeded(HEALTHY["mlp"])
    return changed(case, nn.Sequential(*case.model, nn.Softmax(1)))


def fly(case: Case, **more: Any) -> Any:
    return preflight(
        case.model, case.loss_fn, case.batch, case.optimizer, checks=["GW202", "GW301", "GW103"], show=False, **more
    )


def findings_of(server: Server, run_id: str) -> list[dict[str, Any]]:
    wait_until(lambda: server.get(f"runs/{run_id}")["diagnosis"] == "final", "the diagnosis")
    return server.get(f"runs/{run_id}/findings")["items"]


def test_a_preflight_is_a_run_with_its_findings(server: Server) -> None:
    report = fly(sick(), url=server.url, project="before", name="first try", config={"lr": 0.1})
    assert report.delivered
    assert report.url == f"{server.url}/runs/{report.run_id}"
    run = server.get(f"runs/{report.run_id}")
    assert (run["project"], run["name"], run["state"]) == ("before", "first try", "finished")
    (finding,) = findings_of(server, report.run_id)
    assert (finding["code"], finding["severity"], finding["state"]) == ("GW202", "error", "open")
    assert finding["message"] == f"Before training: {report['GW202'].message}"
    checks = {item["code"]: item for item in server.get(f"runs/{report.run_id}/checklist")["items"]}
    assert checks["GW103"]["outcome"] == checks["GW301"]["outcome"] == "passed"


def train(case: Case, **more: Any) -> str:
    monitor = watch(case.model, case.optimizer, **more)
    for _ in range(12):
        case.optimizer.zero_grad()
        loss = F.cross_entropy(case.model(case.batch[0]), case.batch[1])
        loss.backward()
        case.optimizer.step()
        monitor.step(loss)
    assert monitor.finish(timeout=30)
    return monitor.run_id


def test_a_preflight_and_its_training_are_one_run(server: Server) -> None:
    case = sick()
    report = fly(case, url=server.url, project="both", config={"of": "preflight"})
    assert server.get(f"runs/{report.run_id}")["attempts"] == 0
    findings_of(server, report.run_id)
    train(case, url=server.url, name="the training", config={"of": "training"})
    (run,) = server.get("runs?project=both")["items"]
    assert run["id"] == report.run_id
    assert (run["name"], run["config"], run["attempts"], run["state"]) == (
        "the training", {"of": "training"}, 1, "finished",
    )  # fmt: skip
    assert run["last_step"] == 11
    found = [(item["code"], item["state"]) for item in findings_of(server, run["id"]) if item["code"] == "GW202"]
    assert found == [("GW202", "open")], "one finding of both"
    shown = server.get(f"runs/{run['id']}/preflight")
    assert (shown["complete"], {item["code"] for item in shown["results"]}) == (True, {"GW202", "GW301", "GW103"})
    train(case, url=server.url, project="both")
    newest, first = server.get("runs?project=both")["items"]
    assert (first["id"], first["attempts"], newest["attempts"]) == (run["id"], 1, 1)


def test_without_a_server_both_arrive_later_as_one_run(server: Server) -> None:
    case = sick()
    report = fly(case, url="http://127.0.0.1:9", project="later")
    monitor = watch(case.model, case.optimizer, url="http://127.0.0.1:9")
    monitor.step(torch.tensor(1.0))
    assert not monitor.finish(timeout=0.1)
    assert sync(["--url", server.url]) == 0
    (run,) = server.get("runs?project=later")["items"]
    assert (run["id"], run["attempts"], run["state"]) == (report.run_id, 1, "finished")
    assert server.get(f"runs/{run['id']}/preflight")["complete"]


def test_it_joins_the_run_that_is_named_and_the_training_goes_on_there(server: Server) -> None:
    case = sick()
    report = fly(case, url=server.url, run_id="my-run")
    assert report.run_id == "my-run"
    findings_of(server, "my-run")
    train(case, url=server.url, run_id="my-run")
    found = [item for item in findings_of(server, "my-run") if item["code"] == "GW202" and item["state"] == "open"]
    assert len(found) == 1, "one finding, whether preflight or the training saw it"
    run = server.get("runs/my-run")
    assert (run["last_step"], run["attempts"], [item["number"] for item in run["attempt_list"]]) == (11, 1, [1])


def test_it_waits_in_the_spool_without_a_server_and_sync_delivers_it(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    report = fly(sick(), url="http://127.0.0.1:9")
    assert not report.delivered
    assert report["GW202"].severity == "error"
    assert sync(["--url", server.url]) == 0
    assert report.run_id in capsys.readouterr().out
    assert [item["code"] for item in findings_of(server, report.run_id)] == ["GW202"]


def test_what_cannot_be_checked_ends_its_run_as_failed(server: Server) -> None:
    case = seeded(HEALTHY["mlp"])
    with pytest.raises(PreflightError):
        preflight(case.model, case.loss_fn, (torch.randn(4, 9), case.batch[1][:4]), url=server.url, run_id="failed-one")
    run = wait_until(lambda: server.get("runs/failed-one"), "the run")
    assert run["state"] == "failed"


def test_nothing_is_written_where_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADWATCH_HOME", str(tmp_path / "home"))
    report = fly(sick(), send=False)
    assert (report.run_id, report.delivered) == ("", False)
    assert not (tmp_path / "home").exists()


def test_it_does_not_take_the_names_that_the_environment_gives_to_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADWATCH_RUN_ID", "of-the-job")
    monkeypatch.setenv("GRADWATCH_ATTEMPT", "0197f000-0000-7000-8000-000000000001")
    from client_hook import identity

    identity.restart_counting()
    report = fly(sick(), url="http://127.0.0.1:9")
    own = identity.Identity.make()
    identity.restart_counting()
    assert report.run_id == own.run_id == "of-the-job"
    assert own.attempt == "0197f000-0000-7000-8000-000000000001", "the training's attempt is its own"
