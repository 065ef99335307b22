"""The loss and its parts arrive as they are: never changed, never dropped for being no number."""

from __future__ import annotations

import math
from time import perf_counter

import numpy as np
import pytest
import torch
from torch import nn

from client_hook.capture.loss import LossSignal
from client_hook.capture.timing import TimingSignal
from tests.client_hook.tape import Tape, recorder_of


def send(*calls: tuple[object, dict[str, object]]) -> Tape:
    """One call of monitor.step a step."""
    optimizer = torch.optim.SGD((model := nn.Linear(1, 1)).parameters(), lr=0.0)
    recorder, tape = recorder_of(model, optimizer, LossSignal, TimingSignal)
    for loss, components in calls:
        optimizer.step()
        recorder.step(loss, components, perf_counter())
    recorder.detach()
    return tape


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (0.1, 0.1),
        (2, 2.0),
        (True, 1.0),
        (torch.tensor(0.5), 0.5),
        (torch.tensor([0.5]), 0.5),
        (torch.tensor([1.0, 2.0, 6.0]), 3.0),
        (torch.tensor(3, dtype=torch.int32), 3.0),
        (torch.tensor(0.1, dtype=torch.float64), 0.1),
        (torch.tensor(1.5, dtype=torch.bfloat16), 1.5),
        (torch.tensor(2.0, requires_grad=True), 2.0),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
        (10**400, math.inf),
    ],
)
def test_any_number_is_taken(loss: object, expected: float) -> None:
    tape = send((loss, {}), (1.0, {"part": loss}))
    assert tape.series("loss")[0] == expected
    assert tape.series("loss/part") == {1: expected}


def test_nan_stays_nan() -> None:
    tape = send((torch.tensor(math.nan), {}), (1.0, {"kl": math.nan}))
    assert math.isnan(tape.series("loss")[0])
    assert math.isnan(tape.series("loss/kl")[1])


def test_numpy_numbers_are_taken() -> None:
    assert send((np.float32(0.25), {})).series("loss") == {0: 0.25}


@pytest.mark.parametrize("loss", ["0.5", None, 1j, torch.tensor(1j), torch.empty(0), object()])
def test_anything_else_is_refused_with_a_sentence(loss: object) -> None:
    with pytest.raises(TypeError, match=r"^loss: got .*, expected "):
        send((loss, {}))


def test_times_are_positive_and_one_a_step() -> None:
    times = send((1.0, {}), (1.0, {})).series("time/step")
    assert list(times) == [0, 1]
    assert all(seconds > 0 for seconds in times.values())
