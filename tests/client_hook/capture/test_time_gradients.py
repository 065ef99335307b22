"""The gradient at the two ends of a sequence, against plain autograd; and what is left alone."""

from __future__ import annotations

from time import perf_counter

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from client_hook.capture.time_gradients import TimeGradientSignal
from tests.client_hook.tape import recorder_of

LENGTH = 40


def measured(model: nn.Module, loss) -> dict[str, float]:
    """Runs one step under the signal and gives what it sent."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    recorder, tape = recorder_of(model, optimizer, TimeGradientSignal)
    loss().backward()
    optimizer.step()
    recorder.step(1.0, {}, perf_counter())
    recorder.detach()
    names = [name for name in tape.names() if name.startswith("grad_time")]
    return {name: value for name in names for value in tape.series(name).values()}


def by_hand(gradients: list[Tensor]) -> dict[str, float]:
    """Takes the medians of the norms of the first and the last tenth."""
    norms = sorted_norms = [float((item.double() ** 2).sum()) ** 0.5 for item in gradients]
    tenth = len(norms) // 10
    first, last = sorted(norms[:tenth]), sorted(sorted_norms[-tenth:])
    return {"first": first[(tenth - 1) // 2], "last": last[(tenth - 1) // 2]}


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("batch_first", [True, False])
def test_the_ends_are_those_of_the_gradient_of_the_input(kind: type[nn.Module], batch_first: bool) -> None:
    torch.manual_seed(0)
    embedding, cells = nn.Embedding(10, 6), kind(6, 8, batch_first=batch_first)
    model = nn.ModuleDict({"embedding": embedding, "cells": cells})
    ids = torch.randint(0, 10, (3, LENGTH) if batch_first else (LENGTH, 3))
    kept: list[Tensor] = []

    def loss() -> Tensor:
        given = embedding(ids)
        given.retain_grad()
        kept.append(given)
        output = cells(given)[0]
        return (output[:, -1] if batch_first else output[-1]).sum()

    found = measured(model, loss)
    gradient = kept[0].grad
    assert gradient is not None
    wanted = by_hand(list(gradient.unbind(1 if batch_first else 0)))
    assert found["grad_time/first/cells"] == pytest.approx(wanted["first"], rel=1e-5)
    assert found["grad_time/last/cells"] == pytest.approx(wanted["last"], rel=1e-5)


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_of_a_cell_the_gradient_of_the_state_counts(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"cell": kind(2, 6)})
    inputs, kept = torch.randn(LENGTH, 3, 2), []

    def loss() -> Tensor:
        state = None
        for item in inputs:
            state = model["cell"](item, state)
            parts = state if isinstance(state, tuple) else (state,)
            for part in parts:
                part.retain_grad()
            kept.append(parts)
        return kept[-1][0].sum()

    found = measured(model, loss)
    wanted = by_hand([torch.cat([part.grad for part in parts if part.grad is not None]) for parts in kept])
    assert found["grad_time/first/cell"] == pytest.approx(wanted["first"], rel=1e-5)
    assert found["grad_time/last/cell"] == pytest.approx(wanted["last"], rel=1e-5)


def test_padding_behind_the_sequences_is_no_end() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"embedding": nn.Embedding(10, 6), "cells": nn.GRU(6, 8, batch_first=True)})
    ids = torch.randint(0, 10, (3, 2 * LENGTH))

    def loss() -> Tensor:
        return model["cells"](model["embedding"](ids))[0][:, :LENGTH].square().sum()  # the rest is masked

    found = measured(model, loss)
    assert found["grad_time/last/cells"] > 0
    assert found["grad_time/first/cells"] > 0


def test_packed_sequences_are_read_in_the_order_of_time() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"embedding": nn.Embedding(10, 6), "cells": nn.RNN(6, 8, batch_first=True)})
    ids = torch.randint(0, 10, (2, LENGTH))

    def loss() -> Tensor:
        packed = pack_padded_sequence(model["embedding"](ids), [LENGTH, LENGTH], batch_first=True)
        return model["cells"](packed)[1].sum()  # the last state

    found = measured(model, loss)
    assert found["grad_time/first/cells"] < 1e-3 * found["grad_time/last/cells"]


def test_packed_sequences_of_different_lengths_count_by_time_step_as_padded_ones_do() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"embedding": nn.Embedding(10, 6), "cells": nn.GRU(6, 8, batch_first=True)})
    ids, lengths = torch.randint(0, 10, (4, 3 * LENGTH)), torch.tensor([3, 2, 1, 1]) * LENGTH
    inside = (torch.arange(3 * LENGTH) < lengths.unsqueeze(1)).unsqueeze(2)

    def packed() -> Tensor:
        given = pack_padded_sequence(model["embedding"](ids), lengths, batch_first=True)
        return model["cells"](given)[0].data.square().sum()

    def padded() -> Tensor:
        return (model["cells"](model["embedding"](ids))[0] * inside).square().sum()

    assert measured(model, packed) == pytest.approx(measured(model, padded), rel=1e-4)


@pytest.mark.parametrize(
    "case", ["an input that takes no gradient", "a short sequence", "a short packed sequence", "no recurrent layer"]
)
def test_nothing_is_sent_of(case: str) -> None:
    length = 8 if "short" in case else LENGTH
    cells: nn.Module = nn.Linear(6, 8) if "no recurrent" in case else nn.LSTM(6, 8, batch_first=True)
    model = nn.ModuleDict({"embedding": nn.Embedding(10, 6), "cells": cells})
    ids = torch.randint(0, 10, (3, length))

    def loss() -> Tensor:
        given = model["embedding"](ids)
        if "packed" in case:
            return cells(pack_padded_sequence(given, [8, 8, 8], batch_first=True))[1][0].sum()
        output = cells(given.detach() if "input" in case else given)
        return (output[0] if isinstance(output, tuple) else output).sum()

    assert measured(model, loss) == {}
