"""What layers of a model of a series see beside what the loss asks for, in real small models."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from client_hook.capture.foresight import BATCHES, TRIES, ForesightSignal
from tests.client_hook.tape import recorder_of

LENGTH = 12


class Series(nn.Module):
    """Answers at each place of a series (rows, places, 2)."""

    def __init__(self, middle: nn.Module, read: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.middle, self.read, self.head = middle, read, nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.read(self.middle, x))


class Masked(nn.Conv1d):
    """Sees what is past, though it is padded on both sides."""

    def __init__(self) -> None:
        super().__init__(2, 4, 3, padding=1)
        with torch.no_grad():
            self.weight[..., 2] = 0
        self.weight.register_hook(lambda slope: slope * torch.tensor([1.0, 1.0, 0.0]))


def convolved(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x.transpose(1, 2))[..., : x.size(1)].transpose(1, 2)


def moved_back(layer: nn.Module, x: Tensor) -> Tensor:
    return convolved(layer, F.pad(x[:, :-1], (0, 0, 1, 0)))


def padded_left(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(F.pad(x.transpose(1, 2), (2, 0))).transpose(1, 2)


def attended(layer: nn.Module, x: Tensor, **how: Any) -> Tensor:
    x = torch.cat([x, x], 2)
    return layer(x, x, x, **how)[0]


def masked(layer: nn.Module, x: Tensor) -> Tensor:
    return attended(layer, x, attn_mask=nn.Transformer.generate_square_subsequent_mask(LENGTH))


def following(model: nn.Module, step: int) -> Tensor:
    """Asks for the next values."""
    rows = torch.randn(6, LENGTH + 1, 2, generator=torch.Generator().manual_seed(step))
    return F.mse_loss(model(rows[:, :-1]), rows[:, 1:])


def told(model: nn.Module, loss_of: Callable[[nn.Module, int], Tensor] = following) -> dict[str, Any] | None:
    """Trains some steps and gives the last fact."""
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    recorder, tape = recorder_of(model, optimizer, ForesightSignal)
    for step in range(BATCHES + 2):
        optimizer.zero_grad()
        loss = loss_of(model, step)
        loss.backward()
        optimizer.step()
        recorder.step(loss, {}, perf_counter())
    recorder.finish()
    recorder.detach()
    assert not any(layer._forward_hooks for layer in model.modules())
    facts = tape.facts("foresight")
    return facts[-1] if facts else None


def test_a_convolution_padded_on_both_sides_looks_ahead() -> None:
    found = told(Series(nn.Conv1d(2, 4, 3, padding=1), convolved))
    places = BATCHES * 6 * (LENGTH - 1) * 2
    assert found == {
        "batches": BATCHES, "length": LENGTH, "places": places, "next": places, "telling": places, "calls": 0,
        "open": 0, "ahead": ["middle"],
    }  # fmt: skip


AHEAD = [
    (nn.Conv1d(2, 4, 5, padding="same"), convolved),
    (nn.Conv1d(2, 4, 3, padding=2, dilation=2, padding_mode="circular"), convolved),
    (nn.LSTM(2, 2, batch_first=True, bidirectional=True), lambda layer, x: layer(x)[0]),
]


@pytest.mark.parametrize(("layer", "read"), AHEAD)
def test_so_do_others(layer: nn.Module, read: Any) -> None:
    found = told(Series(layer, read))
    assert found is not None
    assert found["ahead"] == ["middle"]


CAUSAL = [
    (nn.Conv1d(2, 4, 3, padding=2), convolved),
    (nn.Conv1d(2, 4, 3), padded_left),
    (nn.Conv1d(2, 4, 3, padding=1), moved_back),
    (nn.Conv1d(2, 4, 1), convolved),
    (nn.LSTM(2, 4, batch_first=True), lambda layer, x: layer(x)[0]),
]


@pytest.mark.parametrize(("layer", "read"), CAUSAL)
def test_causal_layers_do_not(layer: nn.Module, read: Any) -> None:
    assert told(Series(layer, read)) is None


def test_weights_of_zero_see_nothing() -> None:
    found = told(Series(Masked(), convolved))
    assert found is not None
    assert found["ahead"] == []


@pytest.mark.parametrize(("read", "seen"), [(attended, BATCHES), (masked, 0)])
def test_attention_without_a_mask_is_open(read: Any, seen: int) -> None:
    found = told(Series(nn.MultiheadAttention(4, 2, batch_first=True), read))
    assert found is not None
    assert (found["calls"], found["open"], found["ahead"]) == (BATCHES, seen, [])


def test_targets_that_are_no_next_values_are_not_told() -> None:
    def filtered(model: nn.Module, step: int) -> Tensor:
        rows = torch.randn(6, LENGTH, 2, generator=torch.Generator().manual_seed(step))
        return F.mse_loss(model(rows), rows.cumsum(1))

    assert told(Series(nn.Conv1d(2, 4, 3, padding=1), convolved), filtered) is None


def test_a_second_series_of_that_length_may_be_what_is_read_both_ways() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.past, self.given = nn.Conv1d(2, 4, 3, padding=1), nn.LSTM(2, 4, batch_first=True)
            self.head = nn.Linear(4, 2)

        def forward(self, past: Tensor, given: Tensor) -> Tensor:
            return self.head(self.given(given)[0] + convolved(self.past, past).mean(1, keepdim=True))

    def loss_of(model: nn.Module, step: int) -> Tensor:
        rows = torch.randn(6, LENGTH + 1, 2, generator=torch.Generator().manual_seed(step))
        return F.mse_loss(model(torch.zeros(6, LENGTH, 2), rows[:, :-1]), rows[:, 1:])

    assert told(Pair(), loss_of) is None


def test_of_a_model_that_is_called_part_by_part_nothing_is_kept() -> None:
    class Parts(nn.ModuleList):
        def look(self, x: Tensor) -> Tensor:
            return self[1](convolved(self[0], x))

    model = Parts([nn.Conv1d(2, 4, 3, padding=1), nn.Linear(4, 2)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    recorder, tape = recorder_of(model, optimizer, ForesightSignal)
    for _ in range(TRIES):
        assert model[0]._forward_hooks
        loss = model.look(torch.randn(6, LENGTH, 2)).square().mean()
        loss.backward()
        optimizer.step()
        recorder.step(loss, {}, perf_counter())
    assert not model[0]._forward_hooks
    recorder.finish()
    recorder.detach()
    assert tape.facts("foresight") == []
