"""Columns of the inputs that tell the target, from real loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from client_hook.capture.leak_statistics import of_one
from tests.client_hook.capture.loops import train

COLUMNS = 5


def table(step: int, rows: int = 32) -> Tensor:
    return torch.randn(rows, COLUMNS, generator=torch.Generator().manual_seed(step))


def leaks(
    inputs_of: Any, targets_of: Any, loss_of: Any, outputs: int = 1, steps: int = 30, model: nn.Module | None = None
) -> list[Any]:
    """Trains on tables and gives the facts about them."""

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
        inputs = inputs_of(step)
        optimizer.zero_grad()
        loss = loss_of(model(inputs), targets_of(step, inputs))
        loss.backward()
        optimizer.step()
        return loss

    torch.manual_seed(0)
    return train(body, model=model or nn.Linear(COLUMNS, outputs), steps=steps).facts("leaks")


def squares(output: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(output.squeeze(1), target)


def parity(step: int, inputs: Tensor) -> Tensor:
    return (inputs[:, 0] * inputs[:, 1] > 0).long() + (inputs[:, 2] > 0).long()


def with_answer(step: int) -> Tensor:
    inputs = table(step)
    inputs[:, 3] = torch.tensor([2.0, -1.0, 0.5])[parity(step, inputs)]
    return inputs


def test_a_column_that_is_a_multiple_of_the_target_is_found() -> None:
    (fact,) = leaks(table, lambda step, inputs: 3 * inputs[:, 2] - 1, squares)
    assert fact["rows"] == fact["distinct"] == 24 * 32
    assert (fact["columns"], fact["varying"], fact["classes"]) == (COLUMNS, COLUMNS, None)
    (answer,) = fact["answers"]
    assert answer["index"] == 2
    assert 0 <= answer["unexplained"] < 1e-12


def test_a_column_with_one_value_for_each_class_is_found() -> None:
    (fact,) = leaks(with_answer, parity, F.cross_entropy, outputs=3)
    assert (fact["classes"], [item["index"] for item in fact["answers"]]) == (3, [3])
    assert 100 < fact["telling"] < 300


def test_a_column_that_tells_one_class_of_three_is_none() -> None:
    def told(step: int) -> Tensor:
        inputs = table(step)
        inputs[:, 3] = (parity(step, inputs) == 2).float()
        return inputs

    (fact,) = leaks(told, parity, F.cross_entropy, outputs=3)
    assert fact["answers"] == []


def test_targets_with_noise_and_sums_of_columns_are_none() -> None:
    (fact,) = leaks(table, lambda step, inputs: inputs[:, 0] + 0.1 * inputs[:, 1], squares)
    assert fact["answers"] == []


def stayed(step: int, inputs: Tensor) -> Tensor:
    return (inputs[:, 0] + torch.randn(len(inputs), generator=torch.Generator().manual_seed(step + 1000)) > 0).float()


def replaced(column_of: Any) -> Any:
    def make(step: int) -> Tensor:
        inputs = table(step)
        inputs[:, 4] = column_of(inputs, stayed(step, inputs))
        return inputs

    return make


def of_two(output: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(output.squeeze(1), target)


@pytest.mark.parametrize(
    ("column_of", "ordered"),
    [
        (lambda x, y: torch.where(y > 0, 2 + 0.3 * x[:, 4].abs().clamp(max=3), 0.0), [4]),  # a day, 0 for the others
        (lambda x, y: -y + 0.1 * x[:, 4].clamp(-2, 2), [4]),  # the answer and some noise
        (lambda x, y: y + x[:, 4], []),  # it tells much, and not all
        (lambda x, y: x[:, 4], []),
    ],
    ids=["a day of leaving", "noise", "overlap", "nothing"],
)
def test_a_column_that_parts_two_classes_by_a_gap_is_told(column_of: Any, ordered: list[int]) -> None:
    (fact,) = leaks(replaced(column_of), stayed, of_two)
    assert (fact["answers"], fact["ordered"]) == ([], ordered)


def test_a_column_that_orders_all_targets_is_told_where_no_other_comes_near() -> None:
    def cubes(step: int, inputs: Tensor) -> Tensor:
        return inputs[:, 4] ** 3

    (fact,) = leaks(table, cubes, squares)
    assert fact["ordered"] == [4]

    def with_a_shadow(step: int) -> Tensor:
        inputs = table(step)
        inputs[:, 3] = inputs[:, 4] + 0.5 * inputs[:, 3]
        return inputs

    (fact,) = leaks(with_a_shadow, cubes, squares)
    assert fact["ordered"] == []
    (fact,) = leaks(table, lambda step, x: (x[:, 4] > 0).float() * x[:, 0] + x[:, 1], squares)
    assert fact["ordered"] == []


def test_a_threshold_without_a_gap_and_classes_far_apart_in_all_columns_are_no_leak() -> None:
    (fact,) = leaks(table, lambda step, inputs: (inputs[:, 2] > 0).long(), F.cross_entropy, outputs=2)
    assert fact["ordered"] == []

    def blobs(step: int) -> Tensor:
        return 0.3 * table(step) + (torch.arange(32) % 2)[:, None] * torch.tensor([5.0, 4.0, -3.0, 2.0, -4.0])

    (fact,) = leaks(blobs, lambda step, inputs: torch.arange(32) % 2, F.cross_entropy, outputs=2)
    assert fact["ordered"] == [] == fact["answers"]


def test_rows_that_are_not_finite_are_left_out() -> None:
    def with_gaps(step: int) -> Tensor:
        inputs = table(step)
        inputs[0, 1] = float("nan")
        return inputs

    model = nn.Sequential(Filled(), nn.Linear(COLUMNS, 1))
    (fact,) = leaks(with_gaps, lambda step, inputs: inputs[:, 2].clone(), squares, model=model)
    assert fact["rows"] == 24 * 31
    assert [item["index"] for item in fact["answers"]] == [2]


class Filled(nn.Module):
    """Puts 0 where a value is missing."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.nan_to_num(x)


@pytest.mark.parametrize(
    ("inputs_of", "targets_of", "loss_of", "outputs"),
    [
        (table, lambda step, inputs: inputs, F.mse_loss, COLUMNS),  # an autoencoder
        (lambda step: table(step)[:, None, :], lambda step, x: x[:, 0, 2], lambda out, y: squares(out[:, 0], y), 1),
        (table, lambda step, inputs: torch.ones(len(inputs)), squares, 1),  # one value alone
    ],
    ids=["many targets", "no table", "a constant"],
)
def test_other_inputs_and_targets_are_not_compared(inputs_of: Any, targets_of: Any, loss_of: Any, outputs: int) -> None:
    assert leaks(inputs_of, targets_of, loss_of, outputs) == []


def test_a_short_run_of_few_rows_says_nothing_and_a_longer_one_at_its_end() -> None:
    assert leaks(table, lambda step, inputs: inputs[:, 2].clone(), squares, steps=3) == []
    (fact,) = leaks(table, lambda step, inputs: inputs[:, 2].clone(), squares, steps=6)
    assert fact["rows"] == 6 * 32


def test_no_hook_stays_on_the_model() -> None:
    model = nn.Linear(COLUMNS, 1)
    leaks(table, lambda step, inputs: inputs[:, 2].clone(), squares, model=model)
    assert not model._forward_hooks


def test_targets_that_are_columns_of_a_window_are_told() -> None:
    (fact,) = leaks(table, lambda step, inputs: inputs[:, 3:].clone(), F.mse_loss, outputs=2)
    assert (fact["targets"], fact["targets_among"]) == (2, 2)
    assert fact["same"] == [{"index": 3, "target": 0}, {"index": 4, "target": 1}]


def test_two_columns_that_sum_up_to_the_target_are_nearly_it() -> None:
    (fact,) = leaks(table, lambda step, x: (2 * x[:, 1]).exp() * 4 + 0.1 * x[:, 2], squares)
    assert fact["nearly"] is None, "a curve is no line"
    (fact,) = leaks(table, lambda step, x: x[:, 1] + 0.2 * x[:, 2] ** 2, squares)
    assert fact["nearly"]["columns"] == [1, 2]
    assert fact["nearly"]["unexplained"] < 1e-6 < 0.5 < fact["nearly"]["others"]


def test_categories_that_tell_two_classes_are_nearly_the_target() -> None:
    def coded(step: int) -> Tensor:
        inputs = table(step)
        told = (inputs[:, 0] + inputs[:, 1] > 0).float()
        inputs[:, 4] = torch.where(torch.arange(32) % 16 == 0, 1 - told, told * (1 + torch.arange(32) % 3))
        return inputs

    (fact,) = leaks(coded, lambda step, x: (x[:, 0] + x[:, 1] > 0).long(), F.cross_entropy, outputs=2)
    assert (fact["nearly"]["categories"], fact["nearly"]["columns"]) == (True, [4])
    assert 0.05 < fact["nearly"]["unexplained"] < 0.25 < fact["nearly"]["others"]


def test_a_number_that_a_whole_class_shares_tells_the_classes_apart() -> None:
    def billed(step: int) -> Tensor:
        inputs = table(step)
        left = (inputs[:, 0] + inputs[:, 1] > 0).float()
        inputs[:, 4] = left * torch.rand(32, generator=torch.Generator().manual_seed(step))
        return inputs

    (fact,) = leaks(billed, lambda step, x: (x[:, 0] + x[:, 1] > 0).long(), F.cross_entropy, outputs=2)
    assert fact["ordered"] == [], "no gap lies between nothing and little"
    assert (fact["nearly"]["categories"], fact["nearly"]["columns"], fact["nearly"]["unexplained"]) == (True, [4], 0)
    assert fact["nearly"]["others"] > 0.25

    def often_nothing(step: int) -> Tensor:
        inputs = billed(step)
        inputs[::4, 4] = 0.0  # of both classes
        return inputs

    (fact,) = leaks(often_nothing, lambda step, x: (x[:, 0] + x[:, 1] > 0).long(), F.cross_entropy, outputs=2)
    assert fact["nearly"] is None or fact["nearly"]["unexplained"] > 0.1


@pytest.mark.parametrize("kind", ["numbers", "two classes", "three classes"])
def test_where_new_tensors_appear_by_default_is_no_matter(kind: str) -> None:
    rows = table(0, 200).double()
    target = {
        "numbers": rows[:, 1] + 0.2 * rows[:, 2] ** 2,
        "two classes": (rows[:, 0] + rows[:, 1] > 0).long(),
        "three classes": parity(0, rows),
    }[kind]
    if kind != "numbers":
        rows[::2, 4] = target[::2].double()
    usual = of_one(rows, target[:, None])
    assert usual is not None
    with torch.device("meta"):
        assert of_one(rows, target[:, None]) == usual


class Fields(nn.Module):
    """Adds up what each id stands for."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.table(x).sum(1)


def ids(columns: int) -> Any:
    def drawn(step: int) -> Tensor:
        return torch.randint(0, 8, (32, columns), generator=torch.Generator().manual_seed(step))

    return drawn


def test_a_field_of_ids_that_tells_two_classes_is_found() -> None:
    (fact,) = leaks(ids(5), lambda step, x: (x[:, 3] > 3).long(), F.cross_entropy, model=Fields())
    assert fact["ids"] is True
    assert (fact["nearly"]["columns"], fact["nearly"]["unexplained"]) == ([3], 0)


def test_numbers_are_no_ids_and_a_longer_row_of_ids_is_a_text() -> None:
    (fact,) = leaks(table, lambda step, inputs: inputs[:, 2].clone(), squares)
    assert fact["ids"] is False
    assert leaks(ids(33), lambda step, x: (x[:, 3] > 3).long(), F.cross_entropy, model=Fields()) == []


class Decoder(nn.Module):
    """Forecasts two values from a history, each with the answer before it at hand."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(COLUMNS + 2, 2)

    def forward(self, history: Tensor, told: Tensor) -> Tensor:
        before = F.pad(told[:, :-1], (1, 0))
        out: Tensor = self.layer(torch.cat([history, before], 1))
        return out


@pytest.mark.parametrize("leaky", [False, True])
def test_answers_that_a_decoder_is_told_are_no_leak_but_one_among_the_history_is(leaky: bool) -> None:
    model = Decoder()

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
        history, targets = table(step), table(step + 1_000)[:, :2]
        if leaky:
            history = torch.cat([history[:, :-1], targets[:, :1]], 1)
        optimizer.zero_grad()
        loss = F.mse_loss(model(history, targets), targets)
        loss.backward()
        optimizer.step()
        return loss

    facts = train(body, model=model, steps=30).facts("leaks")
    assert [fact["targets_among"] for fact in facts] == [int(leaky)]
