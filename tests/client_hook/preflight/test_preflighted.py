"""What preflight found goes with the next training of the same model, and with no other; both are one run."""

from __future__ import annotations

import gc
import multiprocessing
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from client_hook import identity, preflight, preflighted, watch
from client_hook.decoding import decode
from client_hook.monitor import Monitor
from client_hook.preflight import PreflightError, Report
from client_hook.preflight.sending import records_of
from client_hook.transport import Answer
from tests.client_hook.preflight.kit import HEALTHY, Case, seeded
from tests.client_hook.tape import Tape, taped


def test_the_next_training_of_the_model_tells_what_preflight_found() -> None:
    case, other = seeded(HEALTHY["mlp"]), seeded(HEALTHY["mlp"])
    report = preflight(
        case.model, case.loss_fn, None, case.optimizer, case.loader, checks=["GW106", "GW108"], send=False
    )
    assert {item.code for item in report.results} == {"GW106", "GW108"}

    monitor, tape = taped(other.model, other.optimizer)
    monitor.finish(timeout=0.2)
    assert (tape.facts("preflight"), tape.events("preflight")) == ([], [])

    monitor, tape = taped(case.model, case.optimizer)
    monitor.finish(timeout=0.2)
    (fact,), events = tape.facts("preflight"), tape.events("preflight")
    assert [item["code"] for item in fact["results"]] == [value["code"] for _, value in events]
    assert [step for step, _ in events] == [-1, -1]
    by_code = {item["code"]: item for item in fact["results"]}
    assert by_code["GW106"]["curves"] == ["range test", "short trials"]
    assert by_code["GW108"]["numbers"]["linear_loss"] > 0
    curves = {value["code"]: value["curves"] for _, value in events}
    assert len(curves["GW106"]["range test"]["x"]) == len(curves["GW106"]["range test"]["y"]) > 20

    monitor, tape = taped(case.model, case.optimizer)  # its weights are not those that were checked
    monitor.finish(timeout=0.2)
    assert tape.facts("preflight") == []


NOWHERE = "http://127.0.0.1:9"


class Willing:
    """Takes everything, as a server does."""

    def post(self, path: str, body: bytes, content_type: str) -> Answer:
        return Answer(201, {"id": "it"}) if path == "/api/v1/runs" else Answer(200, {"seq": decode(body).seq})

    def get(self, path: str) -> Answer:
        return Answer(404)

    def interrupt(self) -> None: ...

    def abort(self) -> None: ...

    def close(self) -> None: ...


def checked(case: Case, **more: Any) -> Report:
    """Runs one quick check, as the run of its own that it is."""
    told = {"checks": ["GW202"], "show": False, "url": NOWHERE, "transport": Willing(), **more}
    return preflight(case.model, case.loss_fn, case.batch, case.optimizer, **told)


def watched(case: Case, **more: Any) -> Monitor:
    monitor = watch(case.model, case.optimizer, **{"url": NOWHERE, **more})
    monitor.finish(timeout=0.05)
    return monitor


def test_the_training_goes_on_in_the_run_of_its_preflight_and_a_second_one_in_its_own() -> None:
    case = seeded(HEALTHY["mlp"])
    report = checked(case)
    first, second = watched(case), watched(case)
    assert first.run_id == report.run_id
    assert first.url == report.url
    assert second.run_id != report.run_id


def test_the_newest_preflight_counts() -> None:
    case = seeded(HEALTHY["mlp"])
    earlier, newest = checked(case), checked(case)
    assert earlier.run_id != newest.run_id
    assert watched(case).run_id == newest.run_id


@pytest.mark.parametrize("told", [{"run_id": "mine"}, {"url": "http://127.0.0.1:19"}], ids=["a name", "another server"])
def test_a_run_that_is_named_and_another_server_stay_apart(told: dict[str, str]) -> None:
    case = seeded(HEALTHY["mlp"])
    report = checked(case)
    monitor, tape = watched_taped(case, **told)
    assert monitor.run_id != report.run_id
    assert monitor.run_id == told.get("run_id", monitor.run_id)
    assert [value["code"] for _, value in tape.events("preflight")] == ["GW202"]


def test_a_run_that_preflight_named_goes_on_at_the_steps_of_the_optimizer() -> None:
    case = seeded(HEALTHY["mlp"])
    for parameter in case.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    case.optimizer.step()
    checked(case, run_id="mine")
    monitor = watch(case.model, case.optimizer, url=NOWHERE)
    assert monitor.run_id == "mine"
    assert monitor._parts is not None
    assert monitor._parts.context.options.first_step == 1
    monitor.finish(timeout=0.05)


def test_the_project_is_the_preflights_where_the_training_names_none() -> None:
    case = seeded(HEALTHY["mlp"])
    checked(case, project="vision")
    assert watched(case)._settings.project == "vision"
    checked(case, project="vision")
    assert watched(case, project="text")._settings.project == "text"
    assert watched(case)._settings.project == "default"


def test_after_a_preflight_that_failed_the_next_one_and_the_training_go_on_in_its_run() -> None:
    case = seeded(HEALTHY["mlp"])
    with pytest.raises(PreflightError):
        checked(replace(case, batch=(torch.randn(4, 9), case.batch[1][:4])))
    kept = preflighted.begun(case.model, NOWHERE)
    assert kept is not None
    assert kept.records == ()
    assert checked(case).run_id == kept.run_id
    assert watched(case).run_id == kept.run_id


def test_what_the_server_has_of_the_run_is_not_told_again() -> None:
    case = seeded(HEALTHY["mlp"])
    report = checked(case)
    delivered, tape = watched_taped(case)
    assert (delivered.run_id, len(tape.events("preflight")), len(tape.facts("preflight"))) == (report.run_id, 0, 1)
    preflighted.keep(case.model, records_of(report), run_id="waits", url=NOWHERE, delivered=False)
    undelivered, tape = watched_taped(case)
    assert (undelivered.run_id, len(tape.events("preflight")), len(tape.facts("preflight"))) == ("waits", 1, 1)


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")])
def test_what_wraps_a_model_makes_no_other_of_it(wrap: Any) -> None:
    case = seeded(HEALTHY["mlp"])
    report = checked(case)
    monitor = watch({"net": wrap(case.model)}, case.optimizer, url=NOWHERE)
    monitor.finish(timeout=0.05)
    assert monitor.run_id == report.run_id


def test_a_model_is_held_weakly() -> None:
    case = seeded(HEALTHY["mlp"])
    checked(case)
    known = len(preflighted._known)
    case.model = case.optimizer = case.loader = None
    gc.collect()
    assert len(preflighted._known) == known - 1


def test_a_forked_process_begins_runs_of_its_own() -> None:
    case = seeded(HEALTHY["mlp"])
    checked(case)
    process = multiprocessing.get_context("fork")
    answers = process.SimpleQueue()
    child = process.Process(target=lambda: answers.put(preflighted.begun(case.model, NOWHERE) is None))
    child.start()
    assert answers.get() is True
    child.join()
    assert preflighted.begun(case.model, NOWHERE) is not None


def test_the_names_of_the_environment_stay_with_their_monitors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADWATCH_RUN_ID", "of-the-job")
    identity.restart_counting()
    cases = [seeded(HEALTHY["mlp"]) for _ in range(2)]
    checks = [checked(case).run_id for case in cases]
    (first, told), (second, tape) = watched_taped(cases[0]), watched_taped(cases[1])
    assert checks == ["of-the-job", "of-the-job"]
    assert (first.run_id, second.run_id) == ("of-the-job", identity.derived("run", "of-the-job", 1))
    assert len(told.facts("preflight")) == len(tape.events("preflight")) == 1
    assert checked(cases[0]).run_id == identity.derived("run", "of-the-job", 2), "the run of the training to come"
    identity.restart_counting()


def test_only_the_first_rank_tells_what_preflight_found(monkeypatch: pytest.MonkeyPatch) -> None:
    case = seeded(HEALTHY["mlp"])
    launch = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "h", "MASTER_PORT": "1", "LOCAL_RANK": "1"}
    for name, value in launch.items():
        monkeypatch.setenv(name, value)
    identity.restart_counting()
    assert checked(case).run_id == ""
    monitor, tape = watched_taped(case)
    assert (tape.facts("preflight"), tape.events("preflight")) == ([], [])
    rank_1 = monitor.run_id
    monkeypatch.setenv("RANK", "0")
    identity.restart_counting()
    assert checked(case).run_id == watched(case).run_id == rank_1, "the run that all ranks share"
    identity.restart_counting()


def watched_taped(case: Case, **more: Any) -> tuple[Monitor, Tape]:
    monitor, tape = taped(case.model, case.optimizer, **more)
    monitor.finish(timeout=0.05)
    return monitor, tape
