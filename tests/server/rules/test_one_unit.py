"""Inputs and targets that nobody scaled, in one unit: one mistake, which the rule about inputs tells."""

from __future__ import annotations

from typing import Any

import pytest

from server.diagnosis.engine import Engine
from server.rules.data_batch_sanity import DataBatchSanity
from server.rules.target_out_of_reach import TargetOutOfReach
from tests.server.rules.shorthand import Case


@pytest.mark.parametrize(("rms", "told_apart"), [(5226.0, False), (120.0, True)], ids=["one-unit", "two-units"])
def test_the_load_of_tomorrow_is_as_large_as_that_of_today(rms: float, told_apart: bool) -> None:
    facts: dict[str, Any] = {
        "inputs": {
            "model": {"batches": 20, "shape": [64, 24], "rms": rms, "mean": rms, "std": 70.0, "absmax": 2 * rms}
        },
        "loss_call": {
            "function": "mse_loss", "batches": 3, "input": {"mean": 0, "std": 0.1}, "target": {"mean": 5200, "std": 590}
        },
    }  # fmt: skip
    case = Case("load", "", "", series={"loss": "2.7e7..2.69e7x120"}, facts=facts, planned=400)
    engine = Engine([DataBatchSanity(), TargetOutOfReach()], planned=400)
    alone = case.engine(DataBatchSanity())
    engine.evidence = alone.evidence
    engine.advance()
    causes = {finding.code: finding.cause for finding in engine.findings}
    assert causes["GW107"] is None
    assert causes["GW109"] == (None if told_apart else ("GW107", 0))
