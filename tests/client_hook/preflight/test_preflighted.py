"""What preflight found goes with the next training of the same model, and with no other."""

from __future__ import annotations

from client_hook import preflight
from tests.client_hook.preflight.kit import HEALTHY, seeded
from tests.client_hook.tape import taped


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
