"""Every rule on a real training that has its disease, and on the healthy twin, which raises nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from server.rules.registry import load_rules
from tests.corpus.faults import FAULTS
from tests.serving import Server
from tests.trainings.cast import CAST
from tests.trainings.checked import CHECKED
from tests.trainings.outcome import findings
from tests.trainings.remarked import REMARKED

SICK = {**CAST, **CHECKED, **REMARKED}

# rules that no small training of this suite can show as a fault; their YAML cases do
WITHOUT_TRAINING = {
    "GW103": "found before any training",
    "GW104": "found before any training",
    "GW402": "a remark (tests/trainings/test_own_clock.py)",
    "GW415": "a remark, or a transformer of real size",
    "GW609": "needs a GPU (tests/client_hook/test_cuda.py has one fail)",
    "GW705": "needs a clock of its own (tests/trainings/test_own_clock.py)",
    "GW804": "a remark",
    "GW902": "needs several processes (tests/server/diagnosis/test_ranks.py trains two)",
    "GW905": "needs several processes (tests/server/diagnosis/test_ranks.py trains two)",
    "GW951": "needs a long run of a transformer (the corpus has one, encoder-scores-grow)",
    "GW954": "a remark",
    "GW957": "a remark (tests/trainings/test_own_clock.py)",
    "GW958": "the corpus has one (sentences-mask-inverted)",
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks are fastest on one core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_every_rule_has_a_training_or_a_reason_why_not() -> None:
    shown = set(SICK) | {code for fault in FAULTS.values() for code in (*fault.root, *fault.symptoms)}
    assert {item.code for item in load_rules()} - shown == set(WITHOUT_TRAINING)


@pytest.mark.parametrize("code", SICK)
def test_the_sick_training_is_diagnosed(code: str, server: Server) -> None:
    found = findings(server, SICK[code](True, server.url))
    mine = [item for item in found if item["code"] == code]
    assert mine, [f"{item['code']} {item['severity']}: {item['message']}" for item in found]
    assert mine[0]["severity"] in (("info", "warning") if code in REMARKED else ("warning", "error"))
    assert mine[0]["advice"]
    assert mine[0]["evidence"]["numbers"] or mine[0]["evidence"]["strings"]


@pytest.mark.parametrize("code", SICK)
def test_the_healthy_twin_raises_nothing(code: str, server: Server) -> None:
    found = findings(server, SICK[code](False, server.url))
    assert [f"{item['code']}: {item['message']}" for item in found if item["severity"] != "info"] == []
