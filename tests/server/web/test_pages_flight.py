"""The panel with the last steps before a run broke: what it says, which steps and layers it shows, where it is not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.house import RUN, House, house

NAN = math.nan


@pytest.fixture
def server(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        yield found


def record(kind: str, name: str, step: int, value: Any) -> dict[str, Any]:
    return {"kind": kind, "name": name, "step": step, "time_ms": 1, "value": value}


def broken(**more: Any) -> dict[str, Any]:
    first = {"direction": "forward", "module": "body.2", "tensor": "output", "operation": "LogBackward0", "count": 3}
    batch = {"from": "loader", "tensors": [{"shape": [16, 8], "dtype": "float32", "hash": "abcd1234", "nonfinite": 2}]}
    rng = {"step": 90, "torch": "feed0001", "torch_state": "…"}
    return {
        "reason": "nonfinite-loss",
        "step": 99,
        "first_bad": first,
        "batch": batch,
        "rng": rng,
        "samples": [],
        **more,
    }


def panel(server: House) -> str:
    answer = server.client.get(f"/runs/{RUN}/fragments/flight")
    assert answer.status_code == 200
    return str(answer.text)


def send(server: House, records: list[dict[str, Any]]) -> None:
    server.open_run()
    layers = {"layers": [{"name": "body.0"}, {"name": "body.2"}]}
    losses = [1.0 / (step + 1) for step in range(99)] + [NAN]
    server.send(0, {"loss": losses, "clip/before": [2.5] * 100}, records=[record("fact", "model", -1, layers)])
    samples = {
        "act/absmax/body.2": [7.0, NAN],
        "act/absmax/body.0": [3.25, 4.0],
        "grad_norm/body.0.weight": [0.5, math.inf],
    }
    server.send(1, samples, first_step=98, records=records)


def test_it_names_what_broke_first_with_batch_and_state(server: House) -> None:
    send(server, [record("fact", "flight", 99, {"breaks": [broken()]})])
    text = panel(server)
    assert "The last steps before step 99" in text
    assert "At step 99 the loss was not a number." in text
    assert "First bad value: the forward pass made it in <code>body.2</code> (operation Log)." in text
    assert "fingerprint abcd1234, 2 not finite" in text
    assert "feed0001" in text


def test_layers_stand_in_the_order_of_their_calls_and_bad_numbers_are_marked(server: House) -> None:
    send(server, [record("fact", "flight", 99, {"breaks": [broken()]})])
    text = panel(server)
    outputs = text[text.index("Largest |output|") :]
    assert outputs.index("body.0") < outputs.index("body.2")
    assert '<td class="number flight__bad">NaN</td>' in outputs
    assert '<td class="number flight__bad">∞</td>' in outputs
    each = text[text.index("Each step") : text.index("Largest |output|")]
    assert each.count('<th scope="col" class="number">') == 12
    assert "clip/before" in each


def test_a_table_of_layers_says_where_nothing_was_measured(server: House) -> None:
    send(server, [record("fact", "flight", 99, {"breaks": [broken()]})])
    assert "not between steps" not in panel(server)
    server.send(2, {"act/absmax/body.2": [5.0, 6.0]}, first_step=10)
    text = panel(server)
    assert "layers are measured now and then: not between steps 11 and 98" in text
    assert '<td class="number">–</td>' in text, "and a cell without a number says so"


@pytest.mark.parametrize(
    ("direction", "sentence"),
    [
        ("input", "it was in the batch already, where it went into <code>body.2</code>"),
        ("backward", "the backward pass made it in <code>body.2</code>"),
        ("update", "the update before this step had put it into the weights of <code>body.2</code>"),
        ("unseen", "not seen, for it was known only 7 steps later, when weights were not numbers any more"),
        ("sideways", "it was found in <code>body.2</code>"),
    ],
)
def test_each_direction_has_its_words(server: House, direction: str, sentence: str) -> None:
    item = broken()
    item["first_bad"] |= {"direction": direction, "later": 7}
    send(server, [record("fact", "flight", 99, {"breaks": [item]})])
    assert sentence in panel(server)


def test_the_first_value_that_was_no_number_counts_more_than_a_spike_before_it(server: House) -> None:
    spike = broken(reason="loss-spike", step=50, first_bad=None)
    send(server, [record("fact", "flight", 99, {"breaks": [spike, broken()]})])
    assert "before step 99" in panel(server)


def test_a_kill_is_told_with_the_console(server: House) -> None:
    lines = {"lines": ["epoch 3", "<b>Killed</b>"], "signal": "SIGKILL", "oom_kills": 1}
    ending = {"state": "crashed", "signal": "SIGKILL"}
    facts = [record("fact", "ending", 99, ending), record("fact", "console", 99, lines)]
    send(server, [*facts, record("status", "crashed", 99, ending)])
    text = panel(server)
    assert "The process was ended by SIGKILL." in text
    assert "The kernel killed a process because memory had run out." in text
    assert "epoch 3\n&lt;b&gt;Killed&lt;/b&gt;" in text


def test_an_exception_is_told_with_its_traceback(server: House) -> None:
    ending = {"state": "failed", "exception": "ValueError: no data", "traceback": "Traceback:\n  line 3"}
    send(server, [record("fact", "ending", 99, ending), record("status", "failed", 99, ending)])
    text = panel(server)
    assert "It ended with ValueError: no data." in text
    assert "Traceback:\n  line 3" in text


def test_a_crash_of_which_nobody_knows_says_what_would_have_seen_it(server: House) -> None:
    send(server, [record("status", "crashed", 99, {})])
    assert "gradwatch run -- python train.py" in panel(server)


def test_a_healthy_run_has_no_panel(server: House) -> None:
    send(server, [record("status", "finished", 99, {})])
    assert panel(server).strip() == ""
    page = server.client.get(f"/runs/{RUN}").text
    assert f'hx-get="/runs/{RUN}/fragments/flight"' in page


@pytest.mark.parametrize(
    "fact",
    [None, [], "x", {"breaks": 3}, {"breaks": [None, 3, {}]}, {"breaks": [{"step": "9"}]},
     {"breaks": [{"step": 99, "first_bad": 3, "batch": [], "rng": "x", "reason": None}]},
     {"breaks": [{"step": 99, "first_bad": {"module": 5}, "batch": {"tensors": [7, {"shape": 1}]}, "rng": {"a": 1}}]}],
)  # fmt: skip
def test_facts_may_hold_anything(server: House, fact: Any) -> None:
    send(
        server,
        [record("fact", "flight", 99, fact), record("fact", "console", 99, fact), record("fact", "ending", 99, fact)],
    )
    panel(server)


def test_of_a_large_model_the_layers_that_broke_are_shown_first(server: House) -> None:
    server.open_run()
    names = {f"act/absmax/layer.{index}": [1.0, NAN if index == 99 else 2.0] for index in range(100)}
    server.send(0, {**names, "loss": [1.0, NAN]}, records=[record("fact", "flight", 1, {"breaks": [broken(step=1)]})])
    text = panel(server)
    assert "layer.99" in text
    assert "and 40 more" in text
